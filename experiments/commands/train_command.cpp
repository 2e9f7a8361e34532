#include "experiments/commands/train_command.hpp"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "experiments/errors.hpp"
#include "experiments/train/launch.hpp"
#include "experiments/train/plan_advice.hpp"
#include "experiments/train/plan_table.hpp"
#include "experiments/train/policy_record.hpp"
#include "experiments/train/session.hpp"
#include "experiments/train/step_cost.hpp"
#include "experiments/train/train.hpp"

namespace scalevec::experiments {
namespace {

struct Arguments {
  std::vector<std::string> configs;
  std::vector<std::string> sets;
  std::string out;
  std::int64_t profile = 0;
  bool resume = false;
  bool check = false;
  bool json = false;
  double rank_timeout = 60.0;
};

RunConfig load(const Arguments& args, size_t i = 0) { return read_run_config_file(args.configs[i], args.sets); }

void add_config_options(CLI::App& command, Arguments& args) {
  command.add_option("CONFIG", args.configs, "run configuration, a JSON file")->required()->expected(1);
  command.add_option("--set", args.sets, "override: key.path=value; a number in the path indexes an array")
      ->take_all()
      ->allow_extra_args(false);
}

}  // namespace

void add_train_command(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("train", "Train one run");
  command->footer(
      "Example:\n  scalevec train experiments/configs/toy_t5.json --set optimizer.lr=0.002 --out runs/toy\n"
      "Several processes, started by torchrun, srun or mpirun, train one run together:\n"
      "  torchrun --no-python --nproc-per-node 2 scalevec train experiments/configs/small.json --out runs/two");
  auto args = std::make_shared<Arguments>();
  add_config_options(*command, *args);
  command->get_option("CONFIG")->expected(1, CLI::detail::expected_max_vector_size);
  command->add_option("--out", args->out, "folder of the run");
  command->add_flag("--resume", args->resume, "go on from the newest checkpoint, or start if there is none");
  command->add_flag(
      "--check", args->check,
      "check configuration and data, train and write nothing; several CONFIGs can be checked, and each that is "
      "right is named");
  command->add_option("--profile", args->profile, "write OUT/profile.json, a Chrome trace of so many steps")
      ->check(CLI::Range(1, 10000));
  command
      ->add_option("--rank-timeout", args->rank_timeout,
                   "seconds within which a rank that died or hangs stops the others")
      ->check(CLI::Range(1.0, 86400.0))
      ->capture_default_str();
  command->callback([args, &status] {
    // CLI11's range lets NaN through.
    if (!(args->rank_timeout >= 1.0)) throw UsageError("--rank-timeout: got nan; allowed: 1 to 86400");
    if (args->check) {
      for (size_t i = 0; i < args->configs.size(); ++i) {
        const RunConfig config = load(*args, i);
        naming_file(args->configs[i], [&] { [[maybe_unused]] const Session session(config); });
        std::printf("right: %s\n", args->configs[i].c_str());
        std::fflush(stdout);
      }
      return;
    }
    if (args->configs.size() > 1)
      throw UsageError("train: got " + std::to_string(args->configs.size()) +
                       " configurations; allowed: one, or several with --check");
    const RunConfig config = load(*args);
    if (args->out.empty()) throw UsageError("train: --out is missing; allowed: the folder to write the run to");
    const auto group = join_launched(config, args->rank_timeout);
    status =
        naming_file(args->configs[0], [&] { return train(config, args->out, args->resume, args->profile, group); });
  });
}

void add_plan_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("plan", "Print what each parameter is and how it would be trained; trains nothing");
  command->footer("Example:\n  scalevec plan experiments/configs/small.json --set model.qk_norm=true");
  auto args = std::make_shared<Arguments>();
  add_config_options(*command, *args);
  command->add_flag("--json", args->json, "the table as JSON, as policy.json of a run has it, and the advice");
  command->callback([args] {
    const RunConfig config = load(*args);
    nlohmann::json policy = naming_file(args->configs[0], [&] { return policy_json(config); });
    const nlohmann::json advice = plan_advice(config.resolved, policy);
    if (args->json) {
      policy["advice"] = advice;
      std::fputs((policy.dump(2) + "\n").c_str(), stdout);
      return;
    }
    std::fputs((plan_text(policy) + advice_text(advice)).c_str(), stdout);
    std::int64_t parameters = 0;
    for (const auto& row : policy["rows"]) parameters += row["count"].get<std::int64_t>();
    if (config.threads > 0) at::set_num_threads(config.threads);
    const double memory = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
    if (!config.decoder) return;
    for (const std::string& note : plan_notes(config, parameters, measured_flops(), memory)) std::puts(note.c_str());
  });
}

}  // namespace scalevec::experiments
