#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "experiments/claims/evidence.hpp"
#include "experiments/claims/joined.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/statistics/sequential.hpp"
#include "experiments/statistics/statistics.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;
using Kind = Contrast::Kind;

// Paired differences of the tuning runs to the baseline at equal lr, within an octave of the baseline's best: what a
// comparison's noise will be. NaN with one tuning seed, and for claims that something else than a difference of losses
// decides.
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
      // Far from its best lr a variant scatters more.
      const auto best = base->second.best;
      if (same == base->second.curve.end() || (best && std::abs(std::log2(p.lr / *best)) > 1.01)) continue;
      // Variants are tuned on the first of the same seeds.
      const size_t pairs = std::min(p.losses.size(), same->losses.size());
      const MeanInterval d = paired_difference(std::span(p.losses).first(pairs), std::span(same->losses).first(pairs));
      if (!d.defined()) continue;
      squares += d.sd * d.sd * static_cast<double>(d.n - 1);
      freedom += d.n - 1;
    }
  return freedom ? std::sqrt(squares / static_cast<double>(freedom)) : kNaN;
}

// What training beside its true best lr may cost a variant of a deciding contrast at this confidence, the most of all.
// However many pairs there are, the interval reaches so far beyond the gain.
double lr_cost(const Claim& claim, const std::map<std::string, Tuning>& tunings, double confidence) {
  double most = kNaN;
  for (const Contrast& c : claim.contrasts)
    for (const std::vector<std::string>* names : {&c.variants, &c.baselines})
      for (const std::string& name : *names) {
        const auto t = tunings.find(name);
        if (!c.decides || c.at == Contrast::At::matched || t == tunings.end() || !t->second.fit) continue;
        most = std::fmax(most, t->second.fit->excess(confidence));
      }
  return most;
}

json fit_json(const std::optional<VertexFit>& fit) {
  if (!fit) return nullptr;
  return {{"lr", finite_or_null(std::exp2(fit->log2_lr))},
          {"log2_lr", finite_or_null(fit->log2_lr)},
          {"se", finite_or_null(fit->se)},
          {"curvature", finite_or_null(fit->curvature)},
          {"excess", finite_or_null(fit->expected_excess())},
          {"residual_sd", finite_or_null(fit->residual_sd)},
          {"freedom", fit->freedom},
          {"lack_of_fit_p", finite_or_null(fit->lack_of_fit_p)},
          {"local", fit->local},
          {"lrs", fit->lrs}};
}

json tuning_json(const Tuning& t) {
  json curve = json::array();
  for (const LrPoint& p : t.curve)
    curve.push_back(
        {{"lr", p.lr}, {"losses", losses_json(p.losses)}, {"diverged", p.diverged}, {"missing", p.missing}});
  return {{"best", t.best ? json(*t.best) : json()},
          {"interior", t.best.has_value()},
          {"problem", t.problem},
          {"vertex", fit_json(t.fit)},
          {"curve", curve}};
}

json sides_json(const Plan& plan, const Claim& claim, const std::vector<MeasuredVariant>& variants) {
  json out = json::array();
  for (const MeasuredVariant& a : variants)
    out.push_back({{"variant", a.name},
                   {"folder", plan.variant(claim, a.name).folder},
                   {"lr", a.lr ? json(*a.lr) : json()},
                   {"vertex", fit_json(a.fit)},
                   {"values", losses_json(a.values)}});
  return out;
}

json looks_json(const Sequence& s) {
  json out = json::array();
  for (const Look& look : s.looks)
    out.push_back({{"pairs", look.pairs},
                   {"boundary", two_sided_quantile(look.level)},
                   {"confidence", look.judgement.confidence},
                   {"gain", finite_or_null(look.gain)},
                   {"low", finite_or_null(look.judgement.low)},
                   {"high", finite_or_null(look.judgement.high)}});
  return out;
}

json contrast_json(const Plan& plan, const Claim& claim, const Sequence& s, const Judgement& judgement, double error) {
  const ContrastResult& r = s.result;
  const Contrast& c = *r.contrast;
  const auto needed = r.gains.empty() ? std::nullopt : pairs_needed(r.gain.sd, c.smallest_effect, 1.0 - error);
  json out{{"name", c.name},
           {"decides", c.decides},
           {"at", c.at == Contrast::At::own ? "own best lr" : "matched lr"},
           {"metric", c.metric},
           {"smallest_effect", c.smallest_effect},
           {"gain", finite_or_null(r.gain.estimate)},
           {"sd", finite_or_null(r.gain.sd)},
           {"pairs", r.gain.n},
           {"cap", plan.looks(claim, c).back()},
           {"looks", looks_json(s)},
           {"stopped", s.stopped},
           {"gains", losses_json(r.gains)},
           {"judgement", judgement_json(judgement)},
           {"seeds_needed", needed ? json(*needed) : json()},
           {"notes", r.notes},
           {"better", sides_json(plan, claim, r.better)},
           {"worse", sides_json(plan, claim, r.worse)}};
  if (!r.fits.empty()) out["fits"] = r.fits;
  if (!r.without.empty()) out["without_each"] = losses_json(r.without);
  if (!r.extrapolation.empty()) out["extrapolation"] = r.extrapolation;
  return out;
}

double core_hours(const RunStore& store, const std::set<std::string>& runs) {
  double seconds = 0.0;
  for (const std::string& run : runs)
    if (const double x = core_seconds(store.result(run)); std::isfinite(x)) seconds += x;
  return seconds / 3600.0;
}

json evidence_of(const Plan& plan, const Claim& claim, const RunStore& store, double error,
                 const std::string& withheld) {
  const Outcomes outcomes = store.outcomes();
  std::map<std::string, Tuning> tunings;
  for (const Variant& variant : claim.variants)
    if (variant.tuned()) tunings[variant.name] = plan.tuning(claim, variant.name, outcomes);
  const double sd = pilot_sd(claim, tunings);
  const std::int64_t most = plan.choice(claim).most_pairs();
  const double detectable = at_confidence({most, 0, 0.0, sd, kNaN}, 1.0 - error).half_width;
  std::optional<std::int64_t> pilot_seeds;
  std::vector<Verdict> verdicts;
  std::string reason;
  json measured = json::array(), tuning = json::object();
  for (const Contrast& c : claim.contrasts) {
    const Sequence s = follow(plan, claim, c, store, error);
    Judgement j = s.judgement();
    if (s.looks.empty() || !s.wanted) {
      if (s.looks.empty()) j.reason = s.result.gain.reason.empty() ? "not run yet" : s.result.gain.reason;
    } else {
      j.reason = "stopped before its next look";
    }
    if (!j.reason.empty()) j.verdict = Verdict::inconclusive;
    if (c.decides) {
      if (reason.empty()) reason = j.reason;
      verdicts.push_back(j.verdict);
      if (!pilot_seeds) pilot_seeds = pairs_needed(sd, c.smallest_effect, 1.0 - error);
    }
    if (!withheld.empty()) j.verdict = Verdict::inconclusive;
    if (j.reason.empty()) j.reason = withheld;
    measured.push_back(contrast_json(plan, claim, s, j, error));
  }
  for (const auto& [variant, t] : tunings) tuning[variant] = tuning_json(t);
  if (reason.empty()) reason = withheld;
  const std::set<std::string> runs = runs_used(plan, claim, store);
  double parameters = kNaN;
  for (const std::string& run : runs)
    if (run.starts_with(plan.variant(claim, claim.baseline).folder + "/"))
      parameters = number_at(store.result(run), "parameters");
  // Runs that are missing or diverged decide nothing, whatever the other contrasts say.
  const char* verdict = to_string(reason.empty() ? combined(verdicts) : Verdict::inconclusive);
  return {{"claim", claim.id},
          {"tier", plan.tier()},
          {"text", plan.text().name},
          {"parameters", finite_or_null(parameters)},
          {"level", level_of_size(parameters)},
          {"verdict", claim.judged ? verdict : "not judged"},
          {"reason", claim.judged ? reason : ""},
          {"core_hours", core_hours(store, runs)},
          {"first_seed", plan.choice(claim).first_seed},
          {"pilot",
           {{"sd", finite_or_null(sd)},
            {"seeds", pilot_seeds ? json(*pilot_seeds) : json()},
            {"detectable", finite_or_null(detectable)},
            {"lr_cost", finite_or_null(lr_cost(claim, tunings, 1.0 - error))}}},
          {"contrasts", measured},
          {"tuning", tuning}};
}

}  // namespace

json judgement_json(const Judgement& j) {
  return {{"verdict", to_string(j.verdict)},
          {"confidence", j.confidence},
          {"low", finite_or_null(j.low)},
          {"high", finite_or_null(j.high)},
          {"reason", j.reason}};
}

double core_seconds(const json& result) {
  const double cpu = number_at(result, "cpu_seconds");
  return std::isfinite(cpu) ? cpu : number_at(result, "seconds") * number_at(result, "threads");
}

std::set<std::string> runs_used(const Plan& plan, const Claim& claim, const RunStore& store) {
  std::set<std::string> out;
  const Outcomes outcomes = store.outcomes();
  const auto add = [&](const std::string& run) {
    if (outcomes(run)) out.insert(run);
  };
  for (const Variant& variant : claim.variants)
    if (variant.tuned())
      for (const LrPoint& p : plan.tuning(claim, variant.name, outcomes).curve)
        for (const std::int64_t seed : plan.tuning_seeds(claim, variant.name))
          add(run_name(plan.variant(claim, variant.name).folder, p.lr, seed));
  const TierChoice choice = plan.choice(claim);
  for (const Contrast& c : claim.contrasts)
    for (const std::string& name : plan.variants_of(claim, c, outcomes))
      if (const auto lr = plan.lr(claim, c, name, outcomes))
        for (std::int64_t seed = choice.first_seed; seed < choice.first_seed + plan.looks(claim, c).back(); ++seed)
          add(run_name(plan.variant(claim, name).folder, *lr, seed));
  return out;
}

std::vector<json> gather(const Plan& plan, const RunStore& store, double error, const std::string& withheld) {
  std::vector<json> out;
  for (const Claim* claim : plan.claims()) out.push_back(evidence_of(plan, *claim, store, error, withheld));
  return out;
}

json joined_evidence(const Claim& claim, const std::vector<json>& evidence) {
  json out{{"id", claim.id},
           {"title", claim.title},
           {"statement", claim.statement},
           {"sources", claim.sources},
           {"against", claim.against},
           {"quoted", claim.quoted},
           {"rule", claim.rule},
           {"unit", claim.unit},
           {"hash", claim.hash},
           {"theory_says", claim.theory_says},
           {"judged", claim.judged},
           {"evidence", evidence},
           {"holds_on", json::array()}};
  // Those of the first text stand for the claim where one is shown.
  for (const char* key : {"first_seed", "pilot", "contrasts", "tuning"}) out[key] = evidence.at(0).at(key);
  std::vector<Verdict> verdicts;
  std::map<std::string, std::string> texts;  // by verdict
  std::string reason;
  for (const json& e : evidence) {
    const std::string verdict = text_at(e, "verdict"), text = text_at(e, "text");
    for (const Verdict v : {Verdict::confirmed, Verdict::contradicted, Verdict::not_confirmed, Verdict::inconclusive})
      if (verdict == to_string(v)) verdicts.push_back(v);
    if (verdict == to_string(Verdict::confirmed)) out["holds_on"].push_back(text);
    std::string& all = texts[verdict];
    all += (all.empty() ? "" : ", ") + text;
    if (reason.empty() && !text_at(e, "reason").empty())
      reason = evidence.size() > 1 ? text + ": " + text_at(e, "reason") : text_at(e, "reason");
  }
  out["verdict"] = claim.judged ? to_string(combined(verdicts)) : "not judged";
  out["reason"] = out["verdict"] == to_string(Verdict::inconclusive) ? reason : "";
  std::vector<std::string> words;
  for (const auto& [verdict, on] : texts) words.push_back(verdict + " on " + on);
  out["headline"] = texts.size() > 1 ? joined(words, "; ") : text_at(out, "verdict");
  return out;
}

}  // namespace scalevec::experiments
