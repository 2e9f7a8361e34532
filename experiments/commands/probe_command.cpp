#include "experiments/commands/probe_command.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>

#include "experiments/errors.hpp"
#include "experiments/probe/probe.hpp"
#include "experiments/record/output_files.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"

namespace scalevec::experiments {

namespace {

// On stderr, since the result may go to stdout: one line that is rewritten on a terminal, elsewhere one every ten
// seconds.
class ProgressLine {
 public:
  void operator()(const std::string& what, double share) {
    const auto now = Clock::now();
    if (std::chrono::duration<double>(now - last_).count() < (terminal_ ? 0.2 : 10.0)) return;
    last_ = now;
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const auto left = static_cast<long long>(share > 0.0 ? elapsed / share * (1.0 - share) + 0.5 : 0.0);
    std::fprintf(stderr, terminal_ ? "\r%s  %.0f %%  %lld:%02lld left\033[K" : "%s  %.0f %%  %lld:%02lld left\n",
                 what.c_str(), 100.0 * share, left / 60, left % 60);
    std::fflush(stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_ = isatty(STDERR_FILENO) == 1;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

}  // namespace

void add_probe_command(CLI::App& app) {
  struct Arguments {
    std::string config, out;
    std::vector<std::string> sets;
    ProbeOptions options;
  };
  CLI::App* command =
      app.add_subcommand("probe", "Make a run again and measure its curvature and its gradients' noise");
  const auto a = std::make_shared<Arguments>();
  command->add_option("CONFIG", a->config, "Run configuration; of a finished run, its config.json")->required();
  command->add_option("--at", a->options.steps, "Steps after which to measure, rising")->required()->delimiter(',');
  command->add_option("--set", a->sets, "override: key.path=value")->allow_extra_args(false);
  command->add_option("--gradients", a->options.gradients, "Batches for the signal-to-noise ratio")
      ->capture_default_str()
      ->check(CLI::Range(4, 100000));
  command->add_option("--out", a->out, "JSON file; else standard output");
  command->footer("Example: scalevec probe runs/one/config.json --at 0,250,500 --out probe.json");
  command->callback([a] {
    const RunConfig config = read_run_config_file(a->config, a->sets);
    for (std::size_t i = 0; i < a->options.steps.size(); ++i)
      if (a->options.steps[i] < (i ? a->options.steps[i - 1] + 1 : 0) || a->options.steps[i] > config.steps)
        throw UsageError("--at: got " + std::to_string(a->options.steps[i]) + "; allowed: rising steps from 0 to " +
                         std::to_string(config.steps));
    // Before hours of measuring.
    if (!a->out.empty()) check_output_file(a->out, "--out", json_kind("result of a probe", {"config", "points"}));
    ProbeOptions options = a->options;
    options.progress = ProgressLine();
    options.check_data = [&](const std::string& hash) { check_config_of_run(a->config, hash); };
    const std::string text = naming_file(a->config, [&] { return probe(config, options); }).dump(2) + "\n";
    if (isatty(STDERR_FILENO)) std::fputs("\r\033[K", stderr);
    if (a->out.empty()) {
      std::cout << text;
    } else {
      write_record(a->out, text);
      std::cout << "wrote " << a->out << "\n";
    }
  });
}

}  // namespace scalevec::experiments
