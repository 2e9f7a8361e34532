#include "experiments/claims/verdict.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>

namespace scalevec::experiments {

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::confirmed:
      return "confirmed";
    case Verdict::contradicted:
      return "contradicted";
    case Verdict::not_confirmed:
      return "not confirmed";
    case Verdict::inconclusive:
      return "inconclusive";
  }
  return "";
}

Verdict verdict_of(double low, double high, double smallest_effect) {
  if (!(smallest_effect >= 0.0)) throw std::invalid_argument("verdict_of: the smallest effect must be at least 0");
  if (std::isnan(low) || std::isnan(high)) return Verdict::inconclusive;
  if (low > 0.0 && high >= smallest_effect) return Verdict::confirmed;
  if (high < 0.0) return Verdict::contradicted;
  return high < smallest_effect ? Verdict::not_confirmed : Verdict::inconclusive;
}

std::pair<double, double> Gain::interval(double confidence) const {
  if (!mean) return {kNaN, kNaN};
  const MeanInterval at = at_confidence(*mean, confidence);
  return {at.low(), at.high()};
}

Gain student_gain(std::span<const double> gains, const std::string& what_failed) {
  const MeanInterval m = mean_interval(gains);
  Gain out{m.mean, m.sd, m.n, std::nullopt, ""};
  if (m.left_out)
    out.reason = what_failed.empty() ? std::to_string(m.left_out) + " pairs have no finite value" : what_failed;
  else if (!m.defined())
    out.reason = m.n ? "one pair has no interval" : "no pair";
  else
    out.mean = m;
  return out;
}

MeanInterval whole_interval(double estimate, double sd, std::int64_t n) {
  return at_confidence({n, 0, estimate, sd * std::sqrt(static_cast<double>(n)), 0.0}, 0.95);
}

Gain bootstrap_gain(const Bootstrap& bootstrap, std::int64_t n) {
  Gain out{bootstrap.estimate(), kNaN, n, std::nullopt, ""};
  if (!bootstrap.defined() || n < 2) {
    out.reason = "the bootstrap gives no interval";
    return out;
  }
  // A resample of n draws n with replacement: its spread is √((n − 1)/n) of the estimate's.
  const auto units = static_cast<double>(n);
  out.sd = bootstrap.sd() * std::sqrt(units / (units - 1.0));
  out.mean = whole_interval(out.estimate, out.sd, n);
  return out;
}

std::vector<Judgement> judge(std::span<const Hypothesis> hypotheses, double alpha) {
  std::vector<double> p;
  for (const Hypothesis& h : hypotheses) p.push_back(h.gain.reason.empty() ? h.gain.p() : kNaN);
  const std::vector<HolmResult> corrected = holm(p, alpha);
  std::vector<Judgement> out;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    const Gain& gain = hypotheses[i].gain;
    Judgement j;
    j.confidence = 1.0 - corrected[i].level;
    j.adjusted_p = corrected[i].adjusted_p;
    j.reason = gain.reason;
    std::tie(j.low, j.high) = gain.interval(j.confidence);
    if (gain.reason.empty()) j.verdict = verdict_of(j.low, j.high, hypotheses[i].smallest_effect);
    out.push_back(std::move(j));
  }
  return out;
}

Verdict combined(std::span<const Verdict> verdicts) {
  const auto any = [&](Verdict v) { return std::find(verdicts.begin(), verdicts.end(), v) != verdicts.end(); };
  if (any(Verdict::contradicted)) return Verdict::contradicted;
  if (any(Verdict::not_confirmed)) return Verdict::not_confirmed;
  return verdicts.empty() || any(Verdict::inconclusive) ? Verdict::inconclusive : Verdict::confirmed;
}

}  // namespace scalevec::experiments
