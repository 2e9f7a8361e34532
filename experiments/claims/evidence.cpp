#include "experiments/claims/evidence.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "experiments/claims/metrics.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/statistics/statistics.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Kind = Contrast::Kind;

// Reads what one contrast of a claim needs.
class Reader {
 public:
  Reader(const Plan& plan, const Claim& claim, const Contrast& contrast, const Outcomes& outcomes, const fs::path& runs)
      : plan_(plan), claim_(claim), outcomes_(outcomes), runs_(runs), seeds_(plan.comparison_seeds(claim, contrast)) {}

  // An arm's metric per seed at the lr of the contrast; why a value is not finite goes to `failures`.
  ArmResult arm(const Contrast& contrast, const std::string& name, std::vector<std::string>& failures) const {
    ArmResult out{name, plan_.lr(claim_, contrast, name, outcomes_), {}, {}};
    if (!out.lr) {
      const Tuning t = plan_.tuning(claim_, name, outcomes_);
      failures.push_back(t.state != Tuning::State::tunable ? t.problem
                                                           : name + ": its learning rate is not chosen yet");
      out.values.assign(seeds_.size(), kNaN);
      out.runs.resize(out.values.size());
      return out;
    }
    for (const std::int64_t seed : seeds_)
      out.values.push_back(value(name, *out.lr, seed, contrast.metric, failures, &out.runs));
    return out;
  }

  double value(const std::string& name, double lr, std::int64_t seed, const std::string& metric,
               std::vector<std::string>& failures, std::vector<fs::path>* folders = nullptr) const {
    const std::string run = run_name(plan_.arm(claim_, name).folder, lr, seed);
    if (folders) folders->push_back(runs_ / run);
    const auto outcome = outcomes_(run);
    if (!outcome || outcome->state == CellOutcome::State::missing) {
      failures.push_back(run + ": " + (outcome ? outcome->reason : "not run yet"));
      return kNaN;
    }
    if (outcome->state == CellOutcome::State::diverged) {
      failures.push_back(run + ": diverged: " + outcome->reason);
      return std::numeric_limits<double>::infinity();
    }
    const double x = metric == "val_loss" ? outcome->loss : run_metric(runs_ / run, metric);
    if (!std::isfinite(x)) failures.push_back(run + ": its record has no " + metric);
    return x;
  }

  // Losses of one seed along the lrs of the tuning grid.
  double best_lr(const std::string& name, std::int64_t seed, std::vector<std::string>& failures) const {
    std::vector<double> lrs, losses;
    for (const LrPoint& p : plan_.tuning(claim_, name, outcomes_).curve) {
      lrs.push_back(p.lr);
      std::vector<std::string> ignored;  // a diverged neighbour is only a very high loss; a missing one is not
      losses.push_back(value(name, p.lr, seed, "val_loss", ignored));
      if (std::isnan(losses.back())) failures.insert(failures.end(), ignored.begin(), ignored.end());
    }
    const double x = best_log2_lr(lrs, losses);
    if (std::isnan(x) && failures.empty())
      failures.push_back(name + ", seed " + std::to_string(seed) +
                         ": its best learning rate lies at the end of the grid");
    return x;
  }

  const std::vector<std::int64_t>& seeds() const { return seeds_; }
  std::int64_t pairs() const { return static_cast<std::int64_t>(seeds_.size()); }
  const Plan& plan() const { return plan_; }
  const Claim& claim() const { return claim_; }
  const Outcomes& outcomes() const { return outcomes_; }

 private:
  const Plan& plan_;
  const Claim& claim_;
  const Outcomes& outcomes_;
  const fs::path& runs_;
  std::vector<std::int64_t> seeds_;
};

std::string first_of(const std::vector<std::string>& failures) {
  if (failures.empty()) return "";
  return failures.front() + (failures.size() > 1 ? " (and " + std::to_string(failures.size() - 1) + " more)" : "");
}

void paired_gains(ContrastResult& r, const Contrast& c, std::int64_t seeds) {
  for (size_t s = 0; s < static_cast<size_t>(seeds); ++s) {
    const double x = r.better[0].values[s];
    const double y = r.worse.empty() ? 0.0 : r.worse[0].values[s];
    if (!std::isfinite(x) || !std::isfinite(y)) {
      r.gains.push_back(kNaN);
      continue;
    }
    switch (c.kind) {
      case Kind::ratio:
        r.gains.push_back(c.limit - x / y);
        break;
      case Kind::level:
        r.gains.push_back(x - c.limit);
        break;
      case Kind::closeness:
        r.gains.push_back(c.limit - std::abs(std::log(x)));
        break;
      default:
        r.gains.push_back(y - x);
    }
  }
}

void shift_gains(ContrastResult& r, const Contrast& c, const Reader& reader, std::vector<std::string>& failures) {
  for (const std::int64_t seed : reader.seeds()) {
    double shift[2];
    for (size_t i = 0; i < 2; ++i)
      shift[i] = std::abs(reader.best_lr(c.arms[i], seed, failures) - reader.best_lr(c.baselines[i], seed, failures));
    r.gains.push_back(shift[0] - shift[1]);
  }
}

void token_gain(ContrastResult& r, const Reader& reader) {
  const auto tokens_of = [&](const ArmResult& arm) {
    return number_at(read_record(arm.runs[0] / "summary.json").value_or(nlohmann::json()), "tokens");
  };
  std::vector<double> tokens;
  for (const ArmResult& length : r.worse) tokens.push_back(tokens_of(length));
  const double own = tokens_of(r.better[0]);
  const Bootstrap bootstrap(static_cast<size_t>(reader.pairs()), [&](std::span<const size_t> chosen) {
    std::vector<double> losses;
    for (const ArmResult& length : r.worse) losses.push_back(mean_over(length.values, chosen));
    return tokens_at_loss(tokens, losses, mean_over(r.better[0].values, chosen)) / own - 1.0;
  });
  r.gain = bootstrap_gain(bootstrap, reader.pairs());
  if (!std::isfinite(bootstrap.estimate()))
    r.gain.reason = "the loss lies outside what the baseline's runs of several lengths reached: not extrapolated";
}

ContrastResult measure(const Reader& reader, const Contrast& c) {
  ContrastResult r;
  r.contrast = &c;
  std::vector<std::string> failures;
  std::vector<std::string> arms = c.arms;
  std::string untuned;  // an arm that might have been the best
  if (c.kind == Kind::difference && arms.size() > 1) {
    for (const std::string& name : c.arms)
      if (const Tuning t = reader.plan().tuning(reader.claim(), name, reader.outcomes());
          !t.best && t.state != Tuning::State::tunable) {
        if (t.state == Tuning::State::diverges)
          r.notes.push_back(t.problem);
        else if (untuned.empty())
          untuned = t.problem;
      }
    const auto chosen = reader.plan().better_arm(reader.claim(), c, reader.outcomes());
    if (chosen) {
      arms = {*chosen};
      r.notes.push_back("of " + std::to_string(c.arms.size()) + " arms \"" + *chosen +
                        "\" was the best on the tuning seeds");
    } else {
      arms.resize(1);
      failures.push_back("the best of the arms is not chosen yet");
    }
  }
  for (const std::string& name : arms) r.better.push_back(reader.arm(c, name, failures));
  for (const std::string& name : c.baselines) r.worse.push_back(reader.arm(c, name, failures));
  std::string at_edge;  // a best learning rate that lies at an end of what was tried
  std::set<std::string> noted;
  for (const auto* side : {&r.better, &r.worse})
    for (const ArmResult& a : *side) {
      const Tuning t = reader.plan().tuning(reader.claim(), a.name, reader.outcomes());
      if (t.state != Tuning::State::at_edge || !noted.insert(t.arm).second) continue;
      r.notes.push_back(t.problem);
      at_edge = t.problem;
    }
  if (c.kind == Kind::lr_shift)
    shift_gains(r, c, reader, failures);
  else if (c.kind != Kind::ladder && c.kind != Kind::tokens)
    paired_gains(r, c, reader.pairs());

  if (!failures.empty() && c.kind != Kind::lr_shift && r.gains.empty()) {
    r.gain.reason = first_of(failures);
  } else if (c.kind == Kind::ladder) {
    fit_ladder(r, reader.pairs());
  } else if (c.kind == Kind::tokens) {
    token_gain(r, reader);
  } else {
    r.gain = student_gain(r.gains, first_of(failures));
  }
  if (r.gain.reason.empty()) r.gain.reason = untuned;
  if (c.at == Contrast::At::own && r.gain.reason.empty()) r.gain.reason = at_edge;
  return r;
}

// Paired differences of the tuning runs to the baseline at equal lr: what a comparison's noise will be. NaN with one
// tuning seed, and for claims that something else than a difference of losses decides.
double pilot_sd(const Claim& claim, const std::map<std::string, Tuning>& tunings) {
  for (const Contrast& c : claim.contrasts)
    if (c.decides && (c.kind != Kind::difference || c.metric != "val_loss")) return kNaN;
  const auto base = tunings.find(claim.baseline);
  double squares = 0.0;
  std::int64_t freedom = 0;
  for (const auto& [name, t] : tunings)
    for (const LrPoint& p : t.curve) {
      if (base == tunings.end() || name == base->first) continue;
      const auto same = std::find_if(base->second.curve.begin(), base->second.curve.end(),
                                     [&](const LrPoint& q) { return q.lr == p.lr; });
      if (same == base->second.curve.end()) continue;
      // Arms are tuned on the first of the same seeds.
      const size_t pairs = std::min(p.losses.size(), same->losses.size());
      const MeanInterval d = paired_difference(std::span(p.losses).first(pairs), std::span(same->losses).first(pairs));
      if (!d.defined()) continue;
      squares += d.sd * d.sd * static_cast<double>(d.n - 1);
      freedom += d.n - 1;
    }
  return freedom ? std::sqrt(squares / static_cast<double>(freedom)) : kNaN;
}

json tuning_json(const Tuning& t) {
  json curve = json::array();
  for (const LrPoint& p : t.curve)
    curve.push_back(
        {{"lr", p.lr}, {"losses", losses_json(p.losses)}, {"diverged", p.diverged}, {"missing", p.missing}});
  return {{"best", t.best ? json(*t.best) : json()},
          {"interior", t.best && t.state != Tuning::State::at_edge},
          {"problem", t.problem},
          {"curve", curve}};
}

json sides_json(const Plan& plan, const Claim& claim, const std::vector<ArmResult>& arms) {
  json out = json::array();
  for (const ArmResult& a : arms)
    out.push_back({{"arm", a.name},
                   {"folder", plan.arm(claim, a.name).folder},
                   {"lr", a.lr ? json(*a.lr) : json()},
                   {"values", losses_json(a.values)}});
  return out;
}

json contrast_json(const Plan& plan, const Claim& claim, const ContrastResult& r, const Judgement& judgement,
                   double strictest) {
  const Contrast& c = *r.contrast;
  const auto needed = r.gains.empty() ? std::nullopt : pairs_needed(r.gain.sd, c.smallest_effect, strictest);
  json out{{"name", c.name},
           {"decides", c.decides},
           {"at", c.at == Contrast::At::own ? "own best lr" : "matched lr"},
           {"metric", c.metric},
           {"smallest_effect", c.smallest_effect},
           {"gain", finite_or_null(r.gain.estimate)},
           {"sd", finite_or_null(r.gain.sd)},
           {"pairs", r.gain.n},
           {"p", finite_or_null(r.gain.p())},
           {"gains", losses_json(r.gains)},
           {"judgement", judgement_json(judgement)},
           {"seeds_needed", needed ? json(*needed) : json()},
           {"notes", r.notes},
           {"better", sides_json(plan, claim, r.better)},
           {"worse", sides_json(plan, claim, r.worse)}};
  if (!r.fits.empty()) out["fits"] = r.fits;
  if (!r.extrapolation.empty()) out["extrapolation"] = r.extrapolation;
  return out;
}

// The judgements are those of all claims; `next` is the first of this one's, and then the next one's.
json judged_claim(const Plan& plan, const Outcomes& outcomes, const Claim& claim,
                  const std::vector<ContrastResult>& contrasts, const std::vector<Judgement>& judgements, size_t& next,
                  const std::string& withheld) {
  const double strictest = 1.0 - 0.05 / static_cast<double>(std::max<size_t>(1, judgements.size()));
  std::map<std::string, Tuning> tunings;
  for (const Arm& arm : claim.arms)
    if (arm.lr_from.empty()) tunings[arm.name] = plan.tuning(claim, arm.name, outcomes);
  const double sd = pilot_sd(claim, tunings);
  std::optional<std::int64_t> pilot_seeds;
  std::vector<Verdict> verdicts;
  std::string reason;
  json measured = json::array(), tuning = json::object();
  for (const ContrastResult& r : contrasts) {
    const Contrast& c = *r.contrast;
    Judgement j = c.decides ? judgements[next++] : judge(std::vector<Hypothesis>{{r.gain, c.smallest_effect}})[0];
    if (c.decides && reason.empty()) reason = j.reason;
    if (c.decides) verdicts.push_back(j.verdict);
    if (c.decides && !pilot_seeds) pilot_seeds = pairs_needed(sd, c.smallest_effect, strictest);
    if (!withheld.empty()) j.verdict = Verdict::inconclusive;
    if (j.reason.empty()) j.reason = withheld;
    measured.push_back(contrast_json(plan, claim, r, j, strictest));
  }
  for (const auto& [arm, t] : tunings) tuning[arm] = tuning_json(t);
  if (reason.empty()) reason = withheld;
  // Runs that are missing or diverged decide nothing, whatever the other contrasts say.
  return {{"id", claim.id},
          {"title", claim.title},
          {"statement", claim.statement},
          {"sources", claim.sources},
          {"against", claim.against},
          {"rule", claim.rule},
          {"unit", claim.unit},
          {"hash", claim.hash},
          {"theory_says", claim.theory_says},
          {"verdict", to_string(reason.empty() ? combined(verdicts) : Verdict::inconclusive)},
          {"reason", reason},
          {"first_seed", plan.choice(claim).first_seed},
          {"pilot", {{"sd", finite_or_null(sd)}, {"seeds", pilot_seeds ? json(*pilot_seeds) : json()}}},
          {"contrasts", measured},
          {"tuning", tuning}};
}

}  // namespace

json judgement_json(const Judgement& j) {
  return {{"verdict", to_string(j.verdict)}, {"confidence", j.confidence}, {"low", finite_or_null(j.low)},
          {"high", finite_or_null(j.high)},  {"adjusted_p", j.adjusted_p}, {"reason", j.reason}};
}

double best_log2_lr(std::span<const double> lrs, std::span<const double> losses) {
  size_t best = losses.size();
  for (size_t i = 0; i < losses.size(); ++i)
    if (std::isfinite(losses[i]) && (best == losses.size() || losses[i] < losses[best])) best = i;
  if (best == 0 || best + 1 >= losses.size() || !std::isfinite(losses[best - 1]) || !std::isfinite(losses[best + 1]))
    return kNaN;
  const double x0 = std::log2(lrs[best - 1]), x1 = std::log2(lrs[best]), x2 = std::log2(lrs[best + 1]);
  const double left = (losses[best] - losses[best - 1]) / (x1 - x0),
               right = (losses[best + 1] - losses[best]) / (x2 - x1);
  // The slope is `left` at the left half's middle and `right` at the right's.
  const double a = 0.5 * (x0 + x1), b = 0.5 * (x1 + x2);
  return right == left ? x1 : a - left * (b - a) / (right - left);
}

double tokens_at_loss(std::span<const double> tokens, std::span<const double> losses, double loss) {
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    if (!(losses[i] >= loss && loss >= losses[i + 1]) || losses[i] == losses[i + 1]) continue;
    const double share = (losses[i] - loss) / (losses[i] - losses[i + 1]);
    return std::exp2(std::log2(tokens[i]) + share * std::log2(tokens[i + 1] / tokens[i]));
  }
  return kNaN;
}

json gather(const Plan& plan, const Outcomes& outcomes, const fs::path& runs, const std::string& withheld) {
  std::vector<std::vector<ContrastResult>> measured;
  std::vector<Hypothesis> family;
  for (const Claim* claim : plan.claims()) {
    measured.emplace_back();
    for (const Contrast& c : claim->contrasts) {
      measured.back().push_back(measure(Reader(plan, *claim, c, outcomes, runs), c));
      if (c.decides) family.push_back({measured.back().back().gain, c.smallest_effect});
    }
  }
  const std::vector<Judgement> judgements = judge(family);
  json out = json::array();
  size_t next = 0;
  for (size_t i = 0; i < measured.size(); ++i)
    out.push_back(judged_claim(plan, outcomes, *plan.claims()[i], measured[i], judgements, next, withheld));
  return out;
}

}  // namespace scalevec::experiments
