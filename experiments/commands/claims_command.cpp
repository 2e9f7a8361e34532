#include "experiments/commands/claims_command.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <set>
#include <thread>

#include "experiments/claims/evidence.hpp"
#include "experiments/claims/joined.hpp"
#include "experiments/claims/levels.hpp"
#include "experiments/claims/page.hpp"
#include "experiments/commands/claims_times.hpp"
#include "experiments/compare/gpus.hpp"
#include "experiments/compare/runner.hpp"
#include "experiments/compare/spread.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/text.hpp"
#include "optim/core/random.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct ClaimsArguments {
  std::vector<std::string> ids;
  std::vector<std::string> page, since;
  std::string tier = "quick", out, data, ledger, shard, program = "/proc/self/exe";
  int jobs = 1;
  bool list = false, plan = false, times = false, loaded = false, as_json = false;
};

void print_list(const Ledger& ledger) {
  for (const Claim& c : ledger.claims) std::cout << c.id << "\n    " << c.statement << "\n    " << c.rule << "\n";
  for (const auto& [name, tier] : ledger.tiers) std::cout << "--tier " << name << ": " << tier.purpose << "\n";
}

void make_out_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder)) throw UsageError("--out: cannot make the folder " + folder.string());
}

// What the folder was begun with stays: a claim that is changed after its runs began is another claim.
void fix_ledger(const Plan& plan, const ClaimsArguments& a) {
  const fs::path file = fs::path(a.out) / "ledger.json";
  json fixed = read_record(file).value_or(json{{"tier", a.tier}, {"data", a.data}, {"claims", json::object()}});
  for (const auto& [key, value] : {std::pair{"tier", a.tier}, std::pair{"data", a.data}})
    if (text_at(fixed, key) != value)
      throw UsageError(a.out + ": was begun with --" + key + " \"" + text_at(fixed, key) + "\"; use another --out");
  for (const Claim* c : plan.claims()) {
    const std::string before = text_at(fixed["claims"], c->id);
    if (!before.empty() && before != c->hash)
      throw UsageError(a.out + ": the claim " + c->id + " was changed after its runs began; use another --out");
    fixed["claims"][c->id] = c->hash;
  }
  make_out_folder(a.out);
  write_record(file, fixed.dump(2) + "\n");
}

void check_data(const Tier& tier, const std::string& data) {
  if (data.empty() && tier.needs_text)
    throw UsageError("claims: --tier " + tier.name +
                     " takes --data DIR, a folder of tokens (scalevec data prepare --text FILE --out DIR)");
  if (!data.empty() && !fs::is_directory(data)) throw UsageError("--data: " + data + " is not a folder");
}

// Stage after stage, until nothing is left that this call can run. Returns the number of runs that wait for other
// shards.
size_t make_runs(const Plan& plan, RunStore& store, const ClaimsArguments& a, const Shard& shard,
                 std::vector<std::pair<std::string, std::string>>& failed) {
  RunnerOptions options;
  options.program = a.program;
  options.jobs = a.jobs;
  options.cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  options.gpus = visible_gpus();
  options.terminal = isatty(STDOUT_FILENO) == 1;
  options.progress = &std::cout;
  for (int stage = 1;; ++stage) {
    Grid grid;
    const std::vector<Cell> wanted = plan.wanted(store.outcomes());
    for (const Cell& cell : wanted)
      if (stream_of(cell.name) % shard.count == shard.index - 1) grid.cells.push_back(cell);
    if (grid.cells.empty()) return wanted.size();
    std::cout << "stage " << stage << ": " << grid.cells.size() << " runs" << std::endl;
    const RunnerResult result = run_cells(grid, store.folder(), options);
    if (result.signal) {
      std::cout << "stopped by a signal; the same command continues\n" << std::flush;
      throw CLI::RuntimeError(128 + result.signal);
    }
    // What another process trains is its to finish; asking again at once would be waiting by running round.
    if (!result.busy.empty()) return result.busy.size();
    for (const auto& [run, reason] : result.failed) {
      store.note_failure(run, reason);
      failed.emplace_back(run, reason);
    }
  }
}

// Commit, machine and so on of the runs that were used, with their time; counts the runs into `runs`.
json provenance(const fs::path& folder, const std::set<std::string>& used, json& runs) {
  std::map<std::string, std::set<std::string>> values;
  std::map<std::string, size_t> commits;
  double seconds = 0.0;
  size_t made = 0, diverged = 0;
  for (const std::string& run : used) {
    const json s = read_record_if_sound(folder / run / "summary.json").value_or(json::object());
    if (text_at(s, "status") != "done" && text_at(s, "status") != "diverged") continue;
    ++made;
    diverged += text_at(s, "status") == "diverged";
    ++commits[text_at(s, "git_commit")];
    if (std::isfinite(number_at(s, "seconds"))) seconds += number_at(s, "seconds");
    for (const char* key : {"git_commit", "machine", "versions", "data", "data_hash", "threads"})
      if (s.contains(key)) values[key].insert(s[key].is_string() ? s[key].get<std::string>() : s[key].dump());
  }
  runs.update({{"made", made}, {"diverged", diverged}});
  json out{{"seconds", seconds}, {"runs_by_commit", commits}};
  for (const auto& [key, set] : values) out[key] = set;
  return out;
}

std::string command_text(const ClaimsArguments& a) {
  std::string text = "scalevec claims";
  for (const std::string& id : a.ids) text += " " + id;
  text += a.times ? " --times" : " --tier " + a.tier;
  if (!a.data.empty()) text += " --data " + a.data;
  if (!a.ledger.empty()) text += " --ledger " + a.ledger;
  return text + " --out " + a.out;
}

double tokens_of(const json& config) {
  return config.at("steps").get<double>() * config.at("batch_size").get<double>() *
         config.at("sequence_length").get<double>();
}

// A configuration file per arm, at the middle of its grid and the first seed: what `scalevec train` takes.
void write_configs(const Plan& plan, const fs::path& folder) {
  make_out_folder(folder);
  for (const Claim* c : plan.claims())
    for (const Arm& arm : c->arms) {
      const PlannedArm& planned = plan.arm(*c, arm.name);
      const std::vector<double>& lrs = plan.choice(*c).lrs;
      json config = planned.config;
      config["name"] = planned.folder;
      config["optimizer"]["lr"] = lrs[lrs.size() / 2];
      write_file(folder / (planned.folder + ".json"), config.dump(2) + "\n");
    }
}

void print_plan(const Plan& plan, const fs::path& configs) {
  std::set<std::string> seen;
  std::int64_t comparisons = 0;  // shared ones counted twice
  double tuned = 0.0, compared = 0.0;
  for (const Claim* c : plan.claims()) {
    const TierChoice choice = plan.choice(*c);
    std::printf("%s: compared on %lld seeds\n", c->id.c_str(), static_cast<long long>(choice.seeds));
    for (const Arm& arm : c->arms) {
      const PlannedArm& planned = plan.arm(*c, arm.name);
      if (!seen.insert(planned.folder).second) continue;
      const std::string lr = !arm.lr_from.empty()
                                 ? "at the lr of " + arm.lr_from
                                 : "lr tuned on " + std::to_string(choice.lrs.size()) +
                                       " points, seeds: " + std::to_string(plan.tuning_seeds(*c, arm.name).size());
      std::printf("  %-28s %6.3g million tokens a run, %s\n", planned.folder.c_str(), tokens_of(planned.config) / 1e6,
                  lr.c_str());
    }
    for (const Contrast& contrast : c->contrasts)
      for (const auto* names : {&contrast.arms, &contrast.baselines})
        for (const std::string& name : *names) {
          const auto seeds = static_cast<std::int64_t>(plan.comparison_seeds(*c, contrast).size());
          comparisons += seeds;
          compared += static_cast<double>(seeds) * tokens_of(plan.arm(*c, name).config);
        }
  }
  // What can be named before any run; the comparison follows from the tuning.
  const std::vector<Cell> tuning = plan.wanted([](const std::string&) { return std::nullopt; });
  for (const Cell& cell : tuning) tuned += tokens_of(cell.config);
  std::printf(
      "%zu claims, %zu arms; %zu runs to tune (%.4g million tokens) and more where a grid has to grow, then some "
      "%lld to compare (%.4g million)\n",
      plan.claims().size(), seen.size(), tuning.size(), tuned / 1e6, static_cast<long long>(comparisons),
      compared / 1e6);
  if (configs.empty()) return;
  write_configs(plan, configs);
  std::printf("configurations: %s\n", configs.c_str());
}

void claims(const ClaimsArguments& a, ToyRunner toy) {
  if (!a.page.empty()) {
    const json judged = joined_files(a.page, "--page");
    if (a.as_json)
      std::cout << judged.dump(1) << '\n';
    else
      std::cout << ledger_page(judged, "", a.since.empty() ? json() : joined_files(a.since, "--since"));
    return;
  }
  const Ledger ledger = read_ledger(a.ledger.empty() ? built_in_ledger() : ledger_files(a.ledger));
  if (a.list) return print_list(ledger);
  const auto tier = ledger.tiers.find(a.tier);
  if (tier == ledger.tiers.end()) {
    std::vector<std::string> known;
    for (const auto& [name, t] : ledger.tiers)
      if (name != kTimesTier) known.push_back(name);
    throw UsageError(a.times ? "--times: the ledger has no tier \"times\""
                             : "--tier: got \"" + a.tier + "\"; allowed: " + joined(known));
  }
  const Shard shard = a.shard.empty() ? Shard{} : parse_shard(a.shard);
  const Plan plan(ledger, a.tier, a.ids, a.data);
  if (a.plan) return print_plan(plan, a.out);
  if (a.out.empty()) throw UsageError("claims: --out DIR is missing");
  check_data(tier->second, a.data);
  fix_ledger(plan, a);
  const fs::path out = a.out;
  if (a.times) return judge_times(plan, tier->second, {a.program, out, a.loaded}, toy, command_text(a));
  RunStore store(out / "runs");
  std::vector<std::pair<std::string, std::string>> failed;
  const size_t waiting = make_runs(plan, store, a, shard, failed);
  if (waiting) {
    std::cout << waiting << " runs of this stage are other processes'; when they are made, the same command goes on\n";
    return;
  }
  const Tier& at = tier->second;
  json result{
      {"kind", "ledger"},           {"tier", a.tier}, {"purpose", at.purpose}, {"decides", at.decides},
      {"command", command_text(a)}, {"alpha", 0.05},  {"family", 0},           {"runs", {{"failed", json::array()}}}};
  for (const auto& [run, reason] : failed) result["runs"]["failed"].push_back({{"run", run}, {"reason", reason}});
  // The folder may hold runs of other ledgers: what is judged is what was asked for.
  std::set<std::string> used;
  result["claims"] = gather(
      plan,
      [&, outcomes = store.outcomes()](const std::string& run) {
        used.insert(run);
        return outcomes(run);
      },
      store.folder(), at.decides ? "" : withheld_reason(a.tier));
  size_t family = 0;
  for (size_t i = 0; i < plan.claims().size(); ++i) {
    const Claim& claim = *plan.claims()[i];
    json& judged = result["claims"][i];
    std::cout << "evidence: " << claim.id << std::endl;
    add_levels(judged, claim, toy, out);
    judged["mechanism"] = mechanism(plan, claim, store, out / "probes", a.program);
    for (const Contrast& c : claim.contrasts) family += c.decides;
  }
  result["family"] = family;
  result["provenance"] = provenance(store.folder(), used, result["runs"]);
  write_record(out / "claims.json", result.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  const json shown = joined_ledgers({result});
  write_file(out / "claims.html", ledger_page(shown, out));
  std::cout << '\n' << ledger_text(shown) << "\nledger: " << (out / "claims.html").string() << std::endl;
  if (failed.empty()) return;
  throw RunError(std::to_string(failed.size()) + " runs failed (first: " + failed[0].first + ": " + failed[0].second +
                 "); the same command tries them again");
}

}  // namespace

void add_claims_command(CLI::App& app, ToyRunner toy) {
  CLI::App* command =
      app.add_subcommand("claims", "Judge each claim about scale vectors: theory, toy, language models");
  const auto a = std::make_shared<ClaimsArguments>();
  command->add_option("ID", a->ids, "Claims; all without any");
  command->add_option("--tier", a->tier, "quick, standard or full")->capture_default_str();
  command->add_option("--data", a->data, "Folder of tokens (scalevec data prepare)");
  command->add_option("--out", a->out, "Folder of the ledger; finished runs in it are not made again");
  command->add_option("--jobs", a->jobs, "Runs at a time")->capture_default_str()->check(CLI::Range(1, 1024));
  command->add_option("--shard", a->shard, "I/N: make only the I-th of N parts of the runs");
  command->add_option("--ledger", a->ledger, "Folder of claim files in place of the built-in ones");
  CLI::Option* times = command->add_flag(
      "--times", a->times, "Judge the claims about time and memory, by short runs in turns; needs a quiet machine");
  times->excludes("--tier")->excludes("--shard");
  command->add_flag("--loaded", a->loaded, "With --times: measure on a loaded machine, which decides nothing")
      ->needs(times);
  command->add_flag("--list", a->list, "Print the claims, their rules and the tiers");
  command->add_flag("--plan", a->plan,
                    "Print the arms, what a run of each costs and how its lr is chosen, and with --out write their "
                    "configurations; make no run");
  CLI::Option* page = command->add_option(
      "--page", a->page, "Print the page of these claims.json, joined, without its pictures; run nothing");
  command->add_option("--since", a->since, "With --page: the claims.json that these follow; the page says what changed")
      ->needs(page);
  command->add_flag("--json", a->as_json, "With --page: print what the page shows as JSON")->needs(page);
  command->add_option("--program", a->program)->group("");  // for tests: what makes a run
  command->footer(
      "Examples:\n  scalevec claims --tier quick --jobs 2 --out runs/claims\n"
      "  scalevec claims removal decay-input --tier standard --data data/text --jobs 2 --out runs/claims-standard\n"
      "  scalevec claims --times --out runs/claims-times\n"
      "Stopped, it goes on with the same command and ends as if nothing had happened.");
  command->callback([a, toy] {
    if (a->times)
      a->tier = kTimesTier;
    else if (a->tier == kTimesTier)
      throw UsageError("--tier: \"times\" is what --times runs");
    claims(*a, toy);
  });
}

}  // namespace scalevec::experiments
