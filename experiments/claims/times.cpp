#include "experiments/claims/times.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ostream>
#include <set>
#include <thread>
#include <tuple>

#include "experiments/claims/joined.hpp"
#include "experiments/claims/verdict.hpp"
#include "experiments/distributed/child_process.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/build_info.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Two variants of a claim that contrasts compare.
struct Couple {
  const Claim* claim;
  std::string variant, baseline;
};

std::vector<Couple> couples(const Plan& plan) {
  std::vector<Couple> out;
  std::set<std::tuple<std::string, std::string, std::string>> seen;
  for (const Claim* claim : plan.claims())
    for (const Contrast& c : claim->contrasts) {
      if (c.kind != Contrast::Kind::ratio)
        throw UsageError(claim->id + ": contrast \"" + c.name +
                         "\": turns decide contrasts of the kind \"ratio\" only");
      const std::string variant = c.variants.front(), baseline = c.baselines.front();
      if (seen.emplace(claim->id, variant, baseline).second) out.push_back({claim, variant, baseline});
    }
  return out;
}

void require_quiet(const TimesOptions& options) {
  const CpuTimes before = options.cpu_times();
  std::this_thread::sleep_for(std::chrono::duration<double>(options.look_seconds));
  const CpuTimes after = options.cpu_times();
  const double share = busy_share(before, after);
  if (share <= kLoadedShare) return;
  std::string names;
  for (const auto& [name, used] : busiest(before, after))
    names += (names.empty() ? ": " : ", ") + name + printed(" %.0f %% of a core", 100.0 * used);
  throw UsageError(printed("claims --times: the machine is loaded, %.0f %% of its cores' time is used", 100.0 * share) +
                   names + "; end that, or measure with --loaded, which decides nothing");
}

double children_seconds() {
  rusage use{};
  getrusage(RUSAGE_CHILDREN, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

// The seconds of each logged step after the first third of the run.
std::vector<double> counted_steps(const fs::path& run, double all_steps) {
  std::vector<double> out;
  for (const json& line : read_json_lines(run / "metrics.jsonl"))
    if (const double step = number_at(line, "step"); text_at(line, "kind") == "train" && 3.0 * step > all_steps)
      out.push_back(number_at(line, "tokens") / step / number_at(line, "tokens_per_second"));
  return out;
}

double median(std::vector<double> values) {
  if (values.empty()) return kNaN;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

// Six digits are more than a clock gives.
double six_digits(double x) { return std::isfinite(x) ? std::stod(printed("%.6g", x)) : x; }

// One short run. Null if a signal stopped it.
json turn(const json& config, const TimesOptions& options, const SignalGuard& signals) {
  const fs::path home = options.out / "turn", run = home / "run", file = home / "config.json", log = home / "log.txt";
  fs::remove_all(home);
  fs::create_directories(home);
  write_file(file, config.dump(2) + "\n");
  const CpuTimes before = options.cpu_times();
  const double own_before = children_seconds();
  const pid_t child = start_child({options.program.string(), "train", file.string(), "--out", run.string()}, log);
  std::optional<ChildEnd> end;
  for (bool told = false; !(end = poll_child(child));) {
    if (signals.first() && !told) told = kill(child, SIGTERM) == 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (signals.first()) return nullptr;
  const double others = busy_share(before, options.cpu_times(), children_seconds() - own_before);
  if (end->status || end->signal)
    throw RunError("claims --times: a turn ended with " + end->text() + ": " + last_line(log));
  const json summary = read_record(run / "summary.json").value_or(json::object());
  json steps = json::array();
  for (const double s : counted_steps(run, config.at("steps").get<double>())) steps.push_back(six_digits(s));
  json out{{"seconds_per_step", finite_or_null(median(steps.get<std::vector<double>>()))},
           {"steps", steps},
           {"peak_memory", finite_or_null(number_at(summary, "peak_memory_bytes"))},
           {"parameters", finite_or_null(number_at(summary, "parameters"))},
           {"others", six_digits(others)},
           {"loaded", options.loaded}};
  fs::remove_all(home);
  return out;
}

// The values of a variant in each pair of a couple, pair by pair.
std::vector<double> values_of(const json& turns, const std::string& couple, const std::string& folder,
                              const char* key) {
  std::vector<std::pair<std::int64_t, double>> found;
  for (const json& t : array_at(turns, "turns"))
    if (text_at(t, "couple") == couple && text_at(t, "folder") == folder)
      found.emplace_back(t.at("pair").get<std::int64_t>(), number_at(t, key));
  std::sort(found.begin(), found.end());
  std::vector<double> out;
  for (const auto& [pair, value] : found) out.push_back(value);
  return out;
}

std::string couple_name(const Plan& plan, const Couple& c) {
  return plan.variant(*c.claim, c.variant).folder + " over " + plan.variant(*c.claim, c.baseline).folder;
}

}  // namespace

json make_turns(const Plan& plan, const TimesOptions& options) {
  const fs::path file = options.out / "turns.json";
  json all = read_record(file).value_or(json{{"kind", "turns"},
                                             {"machine", build_info::machine()},
                                             {"git_commit", build_info::git_commit()},
                                             {"turns", json::array()}});
  if (text_at(all, "machine") != build_info::machine())
    throw UsageError(file.string() + ": was begun on another machine, " + text_at(all, "machine") +
                     "; use another --out");
  const std::vector<Couple> wanted = couples(plan);
  const auto made = [&](const Couple& c) {
    return static_cast<std::int64_t>(
        values_of(all, couple_name(plan, c), plan.variant(*c.claim, c.variant).folder, "pair").size());
  };
  std::int64_t missing = 0;
  for (const Couple& c : wanted) missing += std::max<std::int64_t>(0, plan.choice(*c.claim).most_pairs() - made(c));
  if (missing == 0) return all;
  if (!options.loaded) require_quiet(options);
  const SignalGuard signals;
  for (const Couple& c : wanted) {
    const TierChoice choice = plan.choice(*c.claim);
    const std::string couple = couple_name(plan, c);
    for (std::int64_t pair = made(c); pair < choice.most_pairs(); ++pair) {
      json both = json::array();
      for (int order = 0; order < 2; ++order) {
        const std::string& name = (pair + order) % 2 ? c.baseline : c.variant;
        const PlannedVariant& variant = plan.variant(*c.claim, name);
        json config = variant.config;
        config["name"] = variant.folder;
        config["seed"] = choice.first_seed + pair;
        config["optimizer"]["lr"] = choice.lrs.front();
        json t = turn(config, options, signals);
        if (t.is_null()) {
          all["signal"] = signals.first();
          return all;
        }
        t.update({{"couple", couple},
                  {"claim", c.claim->id},
                  {"variant", name},
                  {"folder", variant.folder},
                  {"pair", pair},
                  {"order", order}});
        both.push_back(std::move(t));
      }
      for (json& t : both) all["turns"].push_back(std::move(t));
      write_record(file, all.dump(1) + "\n");
      if (options.progress) {
        const TurnRatio r =
            turn_ratio(values_of(all, couple, plan.variant(*c.claim, c.variant).folder, "seconds_per_step"),
                       values_of(all, couple, plan.variant(*c.claim, c.baseline).folder, "seconds_per_step"), 0.95);
        *options.progress << couple << ": pair " << pair + 1 << " of " << choice.most_pairs() << ", time ratio "
                          << printed("%.4f, over all pairs %.4f [%.4f, %.4f]", r.per_pair.back(), r.ratio, r.low,
                                     r.high)
                          << std::endl;
      }
    }
  }
  return all;
}

TurnRatio turn_ratio(const std::vector<double>& values, const std::vector<double>& baseline, double confidence) {
  TurnRatio out{0, kNaN, kNaN, kNaN, kNaN, {}};
  std::vector<double> logs;
  for (size_t i = 0; i < std::min(values.size(), baseline.size()); ++i) {
    out.per_pair.push_back(values[i] / baseline[i]);
    logs.push_back(std::log(out.per_pair.back()));
  }
  const MeanInterval m = mean_interval(logs, confidence);
  out.pairs = m.n;
  out.sd = m.sd;
  if (m.n) out.ratio = std::exp(m.mean);
  if (m.defined()) {
    out.low = std::exp(m.low());
    out.high = std::exp(m.high());
  }
  return out;
}

namespace {

// Why turns decide nothing; empty if they do.
std::string why_not(const json& turns, const std::string& couple, std::int64_t wanted, const TurnRatio& ratio) {
  double others = 0.0;
  std::int64_t n = 0;
  for (const json& t : array_at(turns, "turns")) {
    if (text_at(t, "couple") != couple) continue;
    if (t.at("loaded").get<bool>()) return "turns were made on a loaded machine";
    others += number_at(t, "others");
    ++n;
  }
  if (n && !(others / static_cast<double>(n) <= kLoadedShare))
    return printed("others used %.0f %% of the machine during the turns", 100.0 * others / static_cast<double>(n));
  if (ratio.pairs < wanted)
    return printed("%lld of %lld pairs of turns are there", static_cast<long long>(ratio.pairs),
                   static_cast<long long>(wanted));
  return "";
}

json side(const Plan& plan, const Claim& claim, const std::string& variant, double lr,
          const std::vector<double>& values) {
  return {{{"variant", variant},
           {"folder", plan.variant(claim, variant).folder},
           {"lr", lr},
           {"values", losses_json(values)}}};
}

json contrast_of_turns(const Plan& plan, const Couple& c, const Contrast& contrast, const json& turns,
                       double confidence) {
  const std::string couple = couple_name(plan, c);
  const TierChoice choice = plan.choice(*c.claim);
  const char* key = contrast.metric == "peak_memory" ? "peak_memory" : "seconds_per_step";
  const std::vector<double> variant = values_of(turns, couple, plan.variant(*c.claim, c.variant).folder, key),
                            baseline = values_of(turns, couple, plan.variant(*c.claim, c.baseline).folder, key);
  const TurnRatio r = turn_ratio(variant, baseline, confidence);
  std::vector<double> gains;
  for (const double x : r.per_pair) gains.push_back(contrast.limit - x);
  const std::string reason = why_not(turns, couple, choice.most_pairs(), r);
  const double low = contrast.limit - r.high, high = contrast.limit - r.low;
  const Verdict verdict = reason.empty() ? verdict_of(low, high, contrast.smallest_effect) : Verdict::inconclusive;
  return {{"name", contrast.name},
          {"decides", contrast.decides},
          {"at", "turns"},
          {"metric", contrast.metric},
          {"limit", contrast.limit},
          {"smallest_effect", contrast.smallest_effect},
          {"gain", finite_or_null(contrast.limit - r.ratio)},
          {"sd", finite_or_null(r.ratio * r.sd)},
          {"pairs", r.pairs},
          {"cap", choice.most_pairs()},
          {"gains", losses_json(gains)},
          {"ratio",
           {{"estimate", finite_or_null(r.ratio)}, {"low", finite_or_null(r.low)}, {"high", finite_or_null(r.high)}}},
          {"judgement",
           {{"verdict", to_string(verdict)},
            {"confidence", confidence},
            {"low", finite_or_null(low)},
            {"high", finite_or_null(high)},
            {"reason", reason}}},
          {"looks", json::array()},
          {"stopped", ""},
          {"seeds_needed", nullptr},
          {"notes", json::array()},
          {"better", side(plan, *c.claim, c.variant, choice.lrs.front(), variant)},
          {"worse", side(plan, *c.claim, c.baseline, choice.lrs.front(), baseline)}};
}

// What the turns of two variants say.
json evidence_of_turns(const Plan& plan, const Couple& c, const json& turns, double confidence) {
  const std::string couple = couple_name(plan, c);
  json contrasts = json::array(), raw = json::array();
  std::vector<Verdict> verdicts;
  std::string reason;
  for (const Contrast& contrast : c.claim->contrasts) {
    if (contrast.variants.front() != c.variant || contrast.baselines.front() != c.baseline) continue;
    contrasts.push_back(contrast_of_turns(plan, c, contrast, turns, contrast.decides ? confidence : 0.95));
    if (!contrast.decides) continue;
    const json& j = contrasts.back().at("judgement");
    if (reason.empty()) reason = text_at(j, "reason");
    verdicts.push_back(read_verdict(j));
  }
  double parameters = kNaN;
  for (const json& t : array_at(turns, "turns"))
    if (text_at(t, "couple") == couple) {
      raw.push_back(t);
      if (text_at(t, "variant") == c.baseline) parameters = number_at(t, "parameters");
    }
  return {{"tier", kTimesTier},
          {"text", ""},
          {"parameters", finite_or_null(parameters)},
          {"level", level_of_size(parameters)},
          {"verdict", to_string(combined(verdicts))},
          {"reason", reason},
          {"machine", text_at(turns, "machine")},
          {"git_commit", text_at(turns, "git_commit")},
          {"contrasts", contrasts},
          {"tuning", json::object()},
          {"turns", raw}};
}

}  // namespace

json judge_turns(const Plan& plan, const json& turns) {
  size_t family = 0;
  for (const Claim* claim : plan.claims())
    for (const Contrast& c : claim->contrasts) family += c.decides;
  const double confidence = 1.0 - 0.05 / static_cast<double>(std::max<size_t>(1, family));
  const std::vector<Couple> all = couples(plan);
  json out = json::array();
  for (const Claim* claim : plan.claims()) {
    json evidence = json::array();
    std::vector<Verdict> verdicts;
    std::string reason;
    for (const Couple& c : all) {
      if (c.claim != claim) continue;
      evidence.push_back(evidence_of_turns(plan, c, turns, confidence));
      const json& e = evidence.back();
      if (std::none_of(e.at("contrasts").begin(), e.at("contrasts").end(),
                       [](const json& x) { return x.at("decides").get<bool>(); }))
        continue;
      if (reason.empty()) reason = text_at(e, "reason");
      verdicts.push_back(read_verdict(e));
    }
    out.push_back({{"id", claim->id},
                   {"title", claim->title},
                   {"statement", claim->statement},
                   {"sources", claim->sources},
                   {"against", claim->against},
                   {"rule", claim->rule},
                   {"unit", claim->unit},
                   {"hash", claim->hash},
                   {"theory_says", claim->theory_says},
                   {"judged", true},
                   {"verdict", to_string(combined(verdicts))},
                   {"reason", reason},
                   {"evidence", evidence},
                   {"contrasts", array_at(evidence.empty() ? json::object() : evidence.front(), "contrasts")},
                   {"tuning", json::object()},
                   {"pilot", {{"sd", nullptr}, {"seeds", nullptr}}},
                   {"mechanism", nullptr}});
  }
  return out;
}

}  // namespace scalevec::experiments
