#include "experiments/claims/verdict.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <tuple>

#include "experiments/statistics/sequential.hpp"

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
  double low = at.low(), high = at.high();
  for (const LrError& error : lr_errors) {
    const double change = error.slope * error.fit.excess(confidence);
    (change < 0.0 ? low : high) += change;
  }
  return {low, high};
}

Gain student_gain(std::span<const double> gains, const std::string& what_failed) {
  const MeanInterval m = mean_interval(gains);
  Gain out{m.mean, m.sd, m.n, std::nullopt, "", {}};
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
  Gain out{bootstrap.estimate(), kNaN, n, std::nullopt, "", {}};
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

Judgement judge(const Gain& gain, double smallest_effect, double level) {
  Judgement out;
  out.confidence = 1.0 - level;
  out.reason = gain.reason;
  std::tie(out.low, out.high) = gain.interval(out.confidence);
  if (gain.reason.empty()) out.verdict = verdict_of(out.low, out.high, smallest_effect);
  return out;
}

std::vector<double> look_levels(std::span<const std::int64_t> looks, double error) {
  // Asked for at every stage of a ledger, and milliseconds each time.
  static std::map<std::pair<std::vector<std::int64_t>, double>, std::vector<double>> known;
  std::vector<double>& levels = known[{{looks.begin(), looks.end()}, error}];
  if (!levels.empty()) return levels;
  std::vector<double> fractions;
  for (const std::int64_t n : looks) fractions.push_back(static_cast<double>(n) / static_cast<double>(looks.back()));
  return levels = spending_levels(fractions, error);
}

std::string decided(const Judgement& j, double smallest_effect) {
  if (j.low > 0.0 || j.high < 0.0) return "the interval excludes zero";
  if (j.low > -smallest_effect && j.high < smallest_effect)
    return "the interval lies within the smallest effect of interest";
  return "";
}

Verdict combined(std::span<const Verdict> verdicts) {
  const auto any = [&](Verdict v) { return std::find(verdicts.begin(), verdicts.end(), v) != verdicts.end(); };
  if (any(Verdict::contradicted)) return Verdict::contradicted;
  if (any(Verdict::not_confirmed)) return Verdict::not_confirmed;
  return verdicts.empty() || any(Verdict::inconclusive) ? Verdict::inconclusive : Verdict::confirmed;
}

}  // namespace scalevec::experiments
