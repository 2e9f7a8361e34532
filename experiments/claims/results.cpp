#include "experiments/claims/results.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "experiments/compare/tables.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

json number(double x) { return std::isfinite(x) ? json(x) : json(); }

json numbers(const std::vector<double>& values) {
  json out = json::array();
  for (const double x : values) out.push_back(std::isinf(x) ? json("diverged") : number(x));
  return out;
}

json judgement_json(const Judgement& j) {
  return {{"verdict", to_string(j.verdict)}, {"confidence", j.confidence}, {"low", number(j.low)},
          {"high", number(j.high)},          {"adjusted_p", j.adjusted_p}, {"reason", j.reason}};
}

json arm_json(const ArmResult& a) {
  return {{"arm", a.name}, {"lr", a.lr ? json(*a.lr) : json()}, {"values", numbers(a.values)}};
}

json contrast_json(const ContrastResult& c) {
  json out{{"name", c.contrast->name},
           {"decides", c.contrast->decides},
           {"at", c.contrast->at == Contrast::At::own ? "own best lr" : "matched lr"},
           {"metric", c.contrast->metric},
           {"smallest_effect", c.contrast->smallest_effect},
           {"gain", number(c.gain.estimate)},
           {"sd", number(c.gain.sd)},
           {"pairs", c.gain.n},
           {"p", number(c.gain.p)},
           {"gains", numbers(c.gains)},
           {"judgement", judgement_json(c.judgement)},
           {"seeds_needed", c.seeds_needed ? json(*c.seeds_needed) : json()},
           {"notes", c.notes},
           {"better", json::array()},
           {"worse", json::array()}};
  for (const ArmResult& a : c.better) out["better"].push_back(arm_json(a));
  for (const ArmResult& a : c.worse) out["worse"].push_back(arm_json(a));
  for (const LadderFit& f : c.fits)
    out["fits"].push_back({{"arm", f.arm},
                           {"compute", f.compute},
                           {"loss", numbers(f.loss)},
                           {"floor", f.floor},
                           {"log_factor", f.log_factor},
                           {"exponent", f.exponent},
                           {"exponent_low", number(f.exponent_low)},
                           {"exponent_high", number(f.exponent_high)}});
  if (!c.extrapolation.empty()) out["extrapolation"] = c.extrapolation;
  return out;
}

json tuning_json(const Tuning& t) {
  json out{{"best", t.best ? json(*t.best) : json()},
           {"interior", t.interior},
           {"problem", t.problem},
           {"curve", json::array()}};
  for (const TuningPoint& p : t.curve)
    out["curve"].push_back(
        {{"lr", p.lr}, {"losses", numbers(p.losses)}, {"diverged", p.diverged}, {"missing", p.missing}});
  return out;
}

json toy_json(const ToyEvidence& t) {
  return {{"words", t.words},
          {"lrs", t.lrs},
          {"worse", numbers(t.worse)},
          {"better", numbers(t.better)},
          {"worse_lr", t.worse_lr},
          {"better_lr", t.better_lr},
          {"gain", number(t.mean)},
          {"pairs", t.gains.size()},
          {"judgement", judgement_json(t.judgement)}};
}

std::string signed_number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, std::abs(x) < 10.0 ? "%+.4f" : "%+.4g", x);
  return text;
}

const ContrastResult& leading(const ClaimResult& r) {
  return *std::find_if(r.contrasts.begin(), r.contrasts.end(),
                       [](const ContrastResult& c) { return c.contrast->decides; });
}

}  // namespace

Levels levels_of(const LedgerResult& ledger, size_t i) {
  const Claim& claim = *ledger.claims[i].claim;
  Levels out{claim.theory_reading, "none", to_string(ledger.claims[i].verdict)};
  for (const FigureEvidence& f : ledger.figures[i])
    if (f.problem.empty() && !f.agrees()) out.theory = "not available";
  if (ledger.toys[i]) out.toy = to_string(ledger.toys[i]->judgement.verdict);
  return out;
}

json ledger_json(const LedgerResult& ledger) {
  json out{{"kind", "ledger"},
           {"tier", ledger.tier},
           {"purpose", ledger.purpose},
           {"decides", ledger.withheld.empty()},
           {"command", ledger.command},
           {"alpha", 0.05},
           {"runs", {{"made", ledger.runs}, {"diverged", ledger.diverged}, {"failed", json::array()}}},
           {"provenance", ledger.provenance},
           {"claims", json::array()}};
  for (const auto& [run, reason] : ledger.failed) out["runs"]["failed"].push_back({{"run", run}, {"reason", reason}});
  size_t family = 0;
  for (size_t i = 0; i < ledger.claims.size(); ++i) {
    const ClaimResult& r = ledger.claims[i];
    const Levels levels = levels_of(ledger, i);
    json claim{{"id", r.claim->id},
               {"title", r.claim->title},
               {"statement", r.claim->statement},
               {"sources", r.claim->sources},
               {"against", r.claim->against},
               {"rule", r.claim->rule},
               {"unit", r.claim->unit},
               {"hash", r.claim->hash},
               {"verdict", to_string(r.verdict)},
               {"reason", r.reason},
               {"levels", {{"theory", levels.theory}, {"toy", levels.toy}, {"language_model", levels.language}}},
               {"headline", levels.headline()},
               {"theory_says", r.claim->theory_says},
               {"figures", json::array()},
               {"toy", ledger.toys[i] ? toy_json(*ledger.toys[i]) : json()},
               {"pilot", {{"sd", number(r.pilot_sd)}, {"seeds", r.pilot_seeds ? json(*r.pilot_seeds) : json()}}},
               {"contrasts", json::array()},
               {"tuning", json::object()},
               {"mechanism", ledger.mechanisms[i]}};
    for (const FigureEvidence& f : ledger.figures[i])
      claim["figures"].push_back(
          {{"id", f.id}, {"agreement", number(f.agreement)}, {"required", number(f.required)}, {"problem", f.problem}});
    for (const ContrastResult& c : r.contrasts) {
      claim["contrasts"].push_back(contrast_json(c));
      family += c.contrast->decides;
    }
    for (const auto& [arm, t] : r.tunings) claim["tuning"][arm] = tuning_json(t);
    out["claims"].push_back(std::move(claim));
  }
  out["family"] = family;
  return out;
}

std::string gain_text(const ContrastResult& c) {
  if (!std::isfinite(c.gain.estimate)) return "no gain measured";
  std::string text = signed_number(c.gain.estimate);
  if (std::isfinite(c.judgement.low))
    text += " [" + signed_number(c.judgement.low) + ", " + signed_number(c.judgement.high) + "]";
  return text;
}

std::string ledger_text(const LedgerResult& ledger) {
  std::vector<std::vector<std::string>> lines{
      {"claim", "gain [Holm's interval]", "of interest", "pairs", "theory", "toy", "language model"}};
  for (size_t i = 0; i < ledger.claims.size(); ++i) {
    const ContrastResult& c = leading(ledger.claims[i]);
    const Levels levels = levels_of(ledger, i);
    lines.push_back({ledger.claims[i].claim->id, gain_text(c), fixed_text(c.contrast->smallest_effect, 3),
                     std::to_string(c.gain.n), levels.theory, levels.toy,
                     levels.language + (levels.disagree() ? "  (levels disagree)" : "")});
  }
  std::vector<size_t> widths(lines[0].size(), 0);
  for (const auto& line : lines)
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  std::string out;
  for (const auto& line : lines)
    for (size_t i = 0; i < line.size(); ++i)
      out += line[i] + (i + 1 < line.size() ? std::string(widths[i] - line[i].size() + 2, ' ') : "\n");
  if (!ledger.withheld.empty()) return out + "No verdict is drawn at this tier: it " + ledger.purpose + ".\n";
  for (const ClaimResult& r : ledger.claims)
    if (!r.reason.empty()) out += r.claim->id + ": inconclusive: " + r.reason + "\n";
  return out;
}

}  // namespace scalevec::experiments
