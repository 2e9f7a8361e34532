#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/commands/claims_command.hpp"
#include "experiments/commands/compare_command.hpp"
#include "experiments/commands/data_command.hpp"
#include "experiments/commands/model_command.hpp"
#include "experiments/commands/options_command.hpp"
#include "experiments/commands/probe_command.hpp"
#include "experiments/commands/theory_command.hpp"
#include "experiments/commands/train_command.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/build_info.hpp"
#include "experiments/system/mapped_file.hpp"
#include "experiments/system/memory.hpp"
#include "experiments/system/thread_waiting.hpp"
#include "experiments/toys/toys.hpp"
#include "optim/config/json_reader.hpp"
#include "optim/parallel/parallel.hpp"

namespace {

// The program ends as the signal asks, but not without a word. `train` and `compare` have handlers of their own.
void say_and_end(int number) {
  constexpr std::string_view kInterrupt = "\nscalevec: stopped by SIGINT before it was done\n",
                             kTerminate = "\nscalevec: stopped by SIGTERM before it was done\n";
  std::string_view text = number == SIGINT ? kInterrupt : kTerminate;
  if (!::isatty(STDERR_FILENO)) text.remove_prefix(1);  // a terminal shows ^C first
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void say_when_stopped() {
  for (const int number : {SIGINT, SIGTERM})
    if (std::signal(number, say_and_end) == SIG_IGN) std::signal(number, SIG_IGN);
}

int fail(int status, std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "scalevec: %s\n", message.c_str());
  return status;
}

// CLI11 would say that a subcommand is required.
std::string unknown_subcommand(const CLI::App& app, int argc, char** argv) {
  const CLI::App* at = &app;
  std::string path = "scalevec";
  for (int i = 1; i < argc && argv[i][0] != '-' && !at->get_subcommands({}).empty(); ++i) {
    std::vector<std::string> known;
    const CLI::App* next = nullptr;
    for (const CLI::App* sub : at->get_subcommands({})) {
      known.push_back(sub->get_name());
      if (sub->get_name() == argv[i]) next = sub;
    }
    if (!next) {
      const std::string near = scalevec::nearest_word(argv[i], known);
      std::string text = "unknown subcommand \"" + std::string(argv[i]) + "\"; ";
      if (!near.empty()) return text + "did you mean \"" + near + "\"?";
      text += "allowed:";
      for (const std::string& word : known) text += (word == known.front() ? " " : ", ") + word;
      return text + " (see " + path + " --help)";
    }
    at = next;
    path += " " + at->get_name();
  }
  return "";
}

// CLI11's message with what is allowed, and the command whose --help tells more.
std::string parse_error(const CLI::App& app, const CLI::ParseError& e) {
  const CLI::App* at = &app;
  std::string path = "scalevec", text = e.what();
  for (auto subs = app.get_subcommands(); !subs.empty(); subs = at->get_subcommands()) {
    at = subs.back();
    path += " " + at->get_name();
  }
  if (dynamic_cast<const CLI::ConversionError*>(&e)) {
    std::smatch found;
    if (std::regex_match(text, found, std::regex("Could not convert: (\\S+) = (.*)")))
      text = found[1].str() + ": got " + found[2].str() + "; allowed: a number";
  }
  if (dynamic_cast<const CLI::ExtrasError*>(&e)) {
    std::vector<std::string> known;
    for (const CLI::Option* option : at->get_options())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    for (std::string word : at->remaining(true)) {
      word.resize(std::min(word.find('='), word.size()));
      if (!word.starts_with("-") || std::find(known.begin(), known.end(), word) != known.end()) continue;
      const std::string near = scalevec::nearest_word(word, known);
      text = "unknown option \"" + word + "\"" + (near.empty() ? "" : "; did you mean \"" + near + "\"?");
      break;
    }
  }
  return text + " (see " + path + " --help)";
}

std::string line_of(const std::exception& e) {
  // LibTorch's messages carry a backtrace after their first line.
  const std::string what = e.what(), line = what.substr(0, what.find('\n'));
  return scalevec::experiments::out_of_memory(e).value_or(scalevec::experiments::gpu_failed(e).value_or(line));
}

// On a GPU that failed, LibTorch's destructors throw too, while the first error is still on its way. Any other
// exception that nothing handles aborts as ever: it is a fault of the program.
void say_when_gpu_fails() {
  static const std::terminate_handler otherwise = std::set_terminate([] {
    try {
      if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
    } catch (const std::exception& e) {
      if (const auto failed = scalevec::experiments::gpu_failed(e)) std::_Exit(fail(1, *failed));
    } catch (...) {
    }
    otherwise();
  });
}

}  // namespace

int main(int argc, char** argv) {
  scalevec::experiments::wait_with_short_spins(argv);
  scalevec::experiments::keep_freed_memory();
  scalevec::make_products_reproducible();

  say_when_stopped();
  say_when_gpu_fails();
  scalevec::experiments::say_when_mapped_files_fail();
  // A write past a limit on file sizes is then an error like that of a full disk, not the program's end.
  std::signal(SIGXFSZ, SIG_IGN);

  CLI::App app("Optimizer research on scale vectors: train, compare, and hold theory against simulation", "scalevec");
  app.require_subcommand(1);
  app.set_version_flag("--version", scalevec::experiments::build_info::version());
  app.footer("Every subcommand has --help with an example.");
  int status = 0;
  scalevec::experiments::set_trained_runs(scalevec::experiments::kTrainedRuns);
  scalevec::experiments::add_data_command(app);
  scalevec::experiments::add_plan_command(app);
  scalevec::experiments::add_options_command(app);
  scalevec::experiments::add_train_command(app, status);
  scalevec::experiments::add_compare_command(app);
  scalevec::experiments::add_theory_command(app);
  scalevec::experiments::add_claims_command(app, scalevec::experiments::run_claim_toy);
  scalevec::experiments::add_probe_command(app);
  scalevec::experiments::add_report_command(app);
  scalevec::experiments::add_model_command(app);
  if (argc > 1 && std::string_view(argv[1]) == "help") return app.exit(CLI::CallForHelp());
  if (const std::string unknown = unknown_subcommand(app, argc, argv); !unknown.empty()) return fail(2, unknown);
  try {
    app.parse(argc, argv);
    return status;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    if (dynamic_cast<const CLI::RuntimeError*>(&e)) return e.get_exit_code();
    return fail(2, parse_error(app, e));
  } catch (const scalevec::experiments::UsageError& e) {
    return fail(2, e.what());
  } catch (const scalevec::ConfigError& e) {
    return fail(2, e.what());
  } catch (const std::exception& e) {
    return fail(1, line_of(e));
  }
}
