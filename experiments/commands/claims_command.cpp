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
#include "experiments/claims/method.hpp"
#include "experiments/claims/outlook.hpp"
#include "experiments/claims/page.hpp"
#include "experiments/commands/claims_times.hpp"
#include "experiments/compare/gpus.hpp"
#include "experiments/compare/runner.hpp"
#include "experiments/compare/spread.hpp"
#include "experiments/data/batch_source.hpp"
#include "experiments/data/manifest.hpp"
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
  std::vector<std::string> texts;  // NAME=DIR
  std::string tier = "quick", out, results, ledger, shard, program = "/proc/self/exe";
  int jobs = 1;
  bool list = false, plan = false, power = false, times = false, loaded = false, as_json = false;
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

// A text with what the page says of it.
struct GivenText {
  Text text;
  json described;
};

// The names of the texts that claims run on at a tier, in the ledger's order; none if the tier takes any.
std::vector<std::string> texts_of(const Ledger& ledger, const std::string& tier) {
  std::vector<std::string> names;
  for (const Claim& claim : ledger.claims)
    if (ledger.runs_at(claim, tier))
      for (const std::string& name : ledger.choice(claim, tier).texts)
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  return names;
}

GivenText read_text(const std::string& given) {
  const size_t at = given.find('=');
  GivenText out;
  if (at == std::string::npos || at == 0) throw UsageError("--text: got \"" + given + "\"; allowed: NAME=DIR");
  out.text.name = given.substr(0, at);
  out.text.dir = given.substr(at + 1);
  if (out.text.name != file_name(out.text.name))
    throw UsageError("--text: got the name \"" + out.text.name + "\"; allowed: letters, digits and ._+=,-");
  if (!fs::is_directory(out.text.dir)) throw UsageError("--text: " + out.text.dir + " is not a folder");
  out.described = {{"name", out.text.name}, {"data_hash", TokenFolderSource(out.text.dir, 0).data_hash()}};
  // Folders that other programs wrote have no manifest; the base says their vocabulary.
  if (const auto manifest = read_manifest(out.text.dir)) {
    out.text.vocab_size = manifest->vocab_size;
    out.described.update({{"tokenizer", manifest->tokenizer},
                          {"vocab_size", manifest->vocab_size},
                          {"train_tokens", manifest->train.tokens()},
                          {"val_tokens", manifest->val.tokens()}});
  }
  return out;
}

// Those that the command gives, in the ledger's order; of a plan that runs nothing, the tier's without folders.
std::vector<GivenText> read_texts(const Ledger& ledger, const Tier& tier, const ClaimsArguments& a) {
  const std::vector<std::string> known = texts_of(ledger, tier.name);
  std::vector<GivenText> out;
  for (const std::string& given : a.texts) {
    out.push_back(read_text(given));
    const std::string& name = out.back().text.name;
    if (!known.empty() && std::find(known.begin(), known.end(), name) == known.end())
      throw UsageError("--text: got the name \"" + name + "\"; --tier " + tier.name + " runs on: " + joined(known));
    for (size_t i = 0; i + 1 < out.size(); ++i)
      if (out[i].text.name == name) throw UsageError("--text: \"" + name + "\" is given twice");
  }
  const auto place = [&](const GivenText& t) { return std::find(known.begin(), known.end(), t.text.name); };
  std::stable_sort(out.begin(), out.end(), [&](const auto& x, const auto& y) { return place(x) < place(y); });
  if (!out.empty()) return out;
  if (a.plan)
    for (const std::string& name : known) out.push_back({Text{name, "", 0}, {{"name", name}}});
  if (!out.empty()) return out;
  if (tier.needs_text && !a.plan)
    throw UsageError("claims: --tier " + tier.name + " takes --text NAME=DIR, a name and a folder of tokens" +
                     (known.empty() ? " (scalevec data prepare --text FILE --out DIR)"
                                    : ", for each of: " + joined(known) + " (scripts/texts.sh)"));
  return {{Text{}, {{"name", Text{}.name}}}};
}

// What the folder was begun with stays: a claim that is changed after its runs began is another claim.
void fix_ledger(const std::vector<Plan>& plans, const std::vector<GivenText>& texts, const ClaimsArguments& a) {
  const fs::path file = fs::path(a.out) / "ledger.json";
  json fixed =
      read_record(file).value_or(json{{"tier", a.tier}, {"texts", json::object()}, {"claims", json::object()}});
  if (text_at(fixed, "tier") != a.tier)
    throw UsageError(a.out + ": was begun with --tier \"" + text_at(fixed, "tier") + "\"; use another --out");
  for (const GivenText& t : texts) {
    const std::string hash = text_at(t.described, "data_hash"), before = text_at(fixed["texts"], t.text.name, hash);
    if (before != hash)
      throw UsageError(a.out + ": was begun with other data for the text " + t.text.name + "; use another --out");
    fixed["texts"][t.text.name] = hash;
  }
  for (const Plan& plan : plans)
    for (const Claim* c : plan.claims()) {
      const std::string before = text_at(fixed["claims"], c->id);
      if (!before.empty() && before != c->hash)
        throw UsageError(a.out + ": the claim " + c->id + " was changed after its runs began; use another --out");
      fixed["claims"][c->id] = c->hash;
    }
  make_out_folder(a.out);
  write_record(file, fixed.dump(2) + "\n");
}

// Runs of a stage that are made before their results are written.
constexpr size_t kRunsPerJob = 8;

// Stage after stage, until nothing is left that this call can run. Returns the number of runs that wait for other
// shards.
size_t make_runs(const std::vector<Plan>& plans, RunStore& store, const ClaimsArguments& a, const Shard& shard,
                 double error, std::vector<std::pair<std::string, std::string>>& failed) {
  RunnerOptions options;
  options.program = a.program;
  options.jobs = a.jobs;
  options.cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  options.gpus = visible_gpus();
  options.terminal = isatty(STDOUT_FILENO) == 1;
  options.progress = &std::cout;
  for (int stage = 1;; ++stage) {
    Grid grid;
    size_t wanted = 0;
    for (const Plan& plan : plans)
      for (const Cell& cell : plan.wanted(store.outcomes(), pairs_by_looks(plan, store, error))) {
        ++wanted;
        if (stream_of(cell.name) % shard.count == shard.index - 1) grid.cells.push_back(cell);
      }
    store.save();
    if (grid.cells.empty()) return wanted;
    std::cout << "stage " << stage << ": " << grid.cells.size() << " runs" << std::endl;
    const std::vector<Cell> cells = std::move(grid.cells);
    const size_t part = kRunsPerJob * static_cast<size_t>(a.jobs);
    size_t busy = 0;
    for (size_t from = 0; from < cells.size(); from += part) {
      grid.cells.assign(cells.begin() + static_cast<std::ptrdiff_t>(from),
                        cells.begin() + static_cast<std::ptrdiff_t>(std::min(cells.size(), from + part)));
      const RunnerResult result = run_cells(grid, store.folder(), options);
      for (const Cell& cell : grid.cells) static_cast<void>(store.outcome(cell.name));
      store.save();
      if (result.signal) {
        std::cout << "stopped by a signal; the same command continues\n" << std::flush;
        throw CLI::RuntimeError(128 + result.signal);
      }
      busy += result.busy.size();
      for (const auto& [run, reason] : result.failed) {
        store.note_failure(run, reason);
        failed.emplace_back(run, reason);
      }
    }
    // What another process trains is its to finish; asking again at once would be waiting by running round.
    if (busy) return busy;
  }
}

// Commit, machine and so on of the runs that were used, with their time; counts the runs into `runs`.
json provenance(const RunStore& store, const std::set<std::string>& used, json& runs) {
  std::map<std::string, std::set<std::string>> values;
  std::map<std::string, size_t> commits;
  double seconds = 0.0, of_cores = 0.0;
  size_t made = 0, diverged = 0;
  for (const std::string& run : used) {
    const json& s = store.result(run);
    if (text_at(s, "status") != "done" && text_at(s, "status") != "diverged") continue;
    ++made;
    diverged += text_at(s, "status") == "diverged";
    ++commits[text_at(s, "git_commit")];
    if (std::isfinite(number_at(s, "seconds"))) seconds += number_at(s, "seconds");
    if (std::isfinite(core_seconds(s))) of_cores += core_seconds(s);
    for (const char* key : {"git_commit", "machine", "versions", "data", "data_hash", "threads"})
      if (s.contains(key)) values[key].insert(s[key].is_string() ? s[key].get<std::string>() : s[key].dump());
  }
  runs.update({{"made", made}, {"diverged", diverged}});
  json out{{"seconds", seconds}, {"core_hours", of_cores / 3600.0}, {"runs_by_commit", commits}};
  for (const auto& [key, set] : values) out[key] = set;
  return out;
}

std::string command_text(const ClaimsArguments& a) {
  std::string text = "scalevec claims";
  for (const std::string& id : a.ids) text += " " + id;
  text += a.times ? " --times" : " --tier " + a.tier;
  for (const std::string& given : a.texts) text += " --text " + given;
  if (!a.results.empty()) text += " --results " + a.results;
  if (!a.ledger.empty()) text += " --ledger " + a.ledger;
  return text + " --out " + a.out;
}

// A configuration file per text and variant, at the middle of its grid and the first seed: what `scalevec train` takes.
void write_configs(const std::vector<Plan>& plans, const fs::path& folder) {
  for (const Plan& plan : plans)
    for (const Claim* c : plan.claims())
      for (const Variant& variant : c->variants) {
        const PlannedVariant& planned = plan.variant(*c, variant.name);
        const std::vector<double>& lrs = plan.choice(*c).lrs;
        json config = planned.config;
        config["name"] = planned.folder;
        config["optimizer"]["lr"] = lrs[lrs.size() / 2];
        const fs::path file = folder / (planned.folder + ".json");
        make_out_folder(file.parent_path());
        write_file(file, config.dump(2) + "\n");
      }
  std::cout << "configurations: " << folder.string() << "\n";
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
  const std::vector<GivenText> texts = read_texts(ledger, tier->second, a);
  std::vector<Plan> plans;
  for (const GivenText& t : texts) plans.emplace_back(ledger, a.tier, a.ids, t.text);
  const fs::path out = a.out, results = a.results.empty() ? out / "results" : fs::path(a.results) / a.tier;
  RunStore store(out / "runs", a.out.empty() && a.results.empty() ? fs::path() : results);
  for (const GivenText& t : texts)
    if (t.described.contains("data_hash")) store.expect_data(t.text.name, text_at(t.described, "data_hash"));
  const std::int64_t family = ledger.hypotheses(a.tier, static_cast<std::int64_t>(texts.size()));
  const double error = kLedgerError / static_cast<double>(std::max<std::int64_t>(1, family));
  if (a.plan || a.power) {
    std::cout << (a.plan ? plan_text(plans, store, error) : "") << (a.power ? power_text(plans, store, error) : "");
    if (a.plan && !a.out.empty() && !fs::exists(out / "ledger.json")) write_configs(plans, a.out);
    return;
  }
  if (a.out.empty()) throw UsageError("claims: --out DIR is missing");
  fix_ledger(plans, texts, a);
  if (a.times) return judge_times(plans.front(), tier->second, {a.program, out, a.loaded}, toy, command_text(a));
  std::vector<std::pair<std::string, std::string>> failed;
  const size_t waiting = make_runs(plans, store, a, shard, error, failed);
  if (waiting) {
    std::cout << waiting << " runs of this stage are other processes'; when they are made, the same command goes on\n";
    return;
  }
  const Tier& at = tier->second;
  json result{{"kind", "ledger"},
              {"tier", a.tier},
              {"purpose", at.purpose},
              {"decides", at.decides},
              {"command", command_text(a)},
              {"alpha", kLedgerError},
              {"family", family},
              {"level", error},
              {"method", ledger_method(at, family, error)},
              {"texts", json::array()},
              {"claims", json::array()},
              {"runs", {{"failed", json::array()}}}};
  for (const GivenText& t : texts) result["texts"].push_back(t.described);
  for (const auto& [run, reason] : failed) result["runs"]["failed"].push_back({{"run", run}, {"reason", reason}});
  // The folder may hold runs of other ledgers: what is judged is what was asked for.
  std::set<std::string> used;
  std::map<std::string, std::vector<json>> evidence;  // by claim
  for (const Plan& plan : plans) {
    for (json& one : gather(plan, store, error, at.decides ? "" : withheld_reason(a.tier)))
      evidence[text_at(one, "claim")].push_back(std::move(one));
    for (const Claim* claim : plan.claims()) used.merge(runs_used(plan, *claim, store));
  }
  for (const Claim& claim : ledger.claims) {
    const auto of_claim = evidence.find(claim.id);
    if (of_claim == evidence.end()) continue;
    std::cout << "evidence: " << claim.id << std::endl;
    json judged = joined_evidence(claim, of_claim->second);
    add_levels(judged, claim, toy, out);
    // Of its first text.
    const auto first = std::find_if(plans.begin(), plans.end(),
                                    [&](const Plan& plan) { return ledger.runs_on(claim, a.tier, plan.text().name); });
    judged["mechanism"] = mechanism(*first, claim, store, out / "probes", a.program);
    result["claims"].push_back(std::move(judged));
  }
  result["provenance"] = provenance(store, used, result["runs"]);
  store.save();
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
  command->add_option("--text", a->texts,
                      "NAME=DIR: a text by the name that the ledger has for it, and its folder of tokens; repeatable");
  command->add_option("--out", a->out, "Folder of the ledger; finished runs in it are not made again");
  command->add_option("--results", a->results,
                      "Folder of small files with the results of finished runs, which are read and added to; a run "
                      "that has one is not made again (default: results in the folder of --out)");
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
                    "Print the variants, the runs that are left and their core-hours, and with a new --out write the "
                    "variants' configurations; make no run");
  command->add_flag("--power", a->power, "Print from the tuning runs what the comparison can decide; make no run");
  CLI::Option* page = command->add_option(
      "--page", a->page, "Print the page of these claims.json, joined, without its pictures; run nothing");
  command->add_option("--since", a->since, "With --page: the claims.json that these follow; the page says what changed")
      ->needs(page);
  command->add_flag("--json", a->as_json, "With --page: print what the page shows as JSON")->needs(page);
  command->add_option("--program", a->program)->group("");  // for tests: what makes a run
  command->footer(
      "Examples:\n  scalevec claims --tier quick --jobs 2 --out runs/claims\n"
      "  scalevec claims removal unified --tier standard --text english-bytes=runs/texts/english-bytes --jobs 2 "
      "--out runs/claims-standard --results docs/claims/results\n"
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
