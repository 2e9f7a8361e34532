#include "theory/scale_ratio.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "theory/domain.hpp"
#include "theory/root.hpp"

namespace scalevec::theory {

using namespace domain;

namespace {

void check_rows(double rows) { require(std::isfinite(rows) && rows >= 1.0, "rows", rows, "at least 1"); }

void check(const RatioFlow& f) {
  positive("rise", f.rise);
  positive("fall", f.fall);
  positive("weight", f.weight);
}

void check(const RatioSgd& p) {
  check_rows(p.rows);
  positive("sigma", p.sigma);
  positive("along", p.along);
  positive("lr_w", p.lr_w);
  positive("lr_gamma", p.lr_gamma);
  not_negative("decay_w", p.decay_w);
  not_negative("decay_gamma", p.decay_gamma);
}

}  // namespace

RatioFlow sgd_ratio(const RatioSgd& p) {
  check(p);
  const double m = p.lr_gamma / p.lr_w, w = p.lr_w * p.sigma, g = p.lr_gamma * p.sigma;
  return {2.0 * (m * w * w * p.rows + 2.0 * p.decay_gamma), 2.0 * (g * g * p.along + 2.0 * m * p.decay_w), m, 2.0};
}

Holds sgd_ratio_holds(const RatioSgd& p, double h, double target, double ratio) {
  check(p);
  positive("h", h);
  positive("target", target);
  positive("ratio", ratio);
  const double gamma_sq = target / std::sqrt(ratio);
  Holds holds;
  at_most(holds, "the variance of theta over R^2, c lr sigma^2 gamma^2/(2 h R^2)",
          p.rows * p.lr_w * p.sigma * p.sigma * gamma_sq / (2.0 * h * target * target), 0.03);
  at_most(holds, "lr h (gamma^2 + |w|^2), which steps overshoot with",
          h * (p.lr_w * gamma_sq + p.lr_gamma * gamma_sq * ratio), 0.2);
  at_most(holds, "the target's share that decay takes",
          std::sqrt(p.decay_w / p.lr_w * p.decay_gamma / p.lr_gamma) / (h * target), 0.2);
  return holds;
}

namespace {

void check(const RatioNormalised& p) {
  positive("target", p.target);
  positive("lr_w", p.lr_w);
  positive("lr_gamma", p.lr_gamma);
  positive("noise_w", p.noise_w);
  not_negative("noise_gamma", p.noise_gamma);
  not_negative("scatter_gamma", p.scatter_gamma);
  positive("response_w", p.response_w);
  positive("response_gamma", p.response_gamma);
  not_negative("decay_w", p.decay_w);
  not_negative("decay_gamma", p.decay_gamma);
}

}  // namespace

RatioFlow normalised_ratio(const RatioNormalised& p) {
  check(p);
  const double gain = p.gain();
  return {p.lr_w * p.noise_w * p.lr_w / p.target / gain + 2.0 * p.decay_gamma,
          p.lr_gamma * p.noise_gamma * p.lr_gamma / p.target + 2.0 * p.decay_w / gain, 1.0 / gain, 1.0};
}

RatioNormalised adamw_pair(double rows, double target, double lr_w, double lr_gamma, double beta1) {
  check_rows(rows);
  fraction("beta1", beta1);
  RatioNormalised out;
  out.target = target;
  out.lr_w = lr_w;
  out.lr_gamma = lr_gamma;
  out.noise_w = rows;
  out.memory = 1.0 / (1.0 - beta1);
  check(out);
  return out;
}

RatioNormalised with_second_moments(const RatioNormalised& pair, double rows, double h, double sigma, double beta2) {
  check_rows(rows);
  check(pair);
  positive("h", h);
  positive("sigma", sigma);
  fraction("beta2", beta2);
  const auto with_share = [&](double share) {
    RatioNormalised out = pair;
    out.noise_gamma = share;
    out.noise_w = rows - 1.0 + share;
    return out;
  };
  // A larger share ends at a ratio nearer to lr_w/lr_gamma, where the rate is least: one root.
  const auto missing = [&](double share) {
    const double q = settled_ratio(normalised_ratio(with_share(share))), gamma = std::sqrt(pair.target / q);
    const double rate = h * gamma / sigma * (pair.lr_w * pair.response_w + pair.lr_gamma * pair.response_gamma * q);
    return rate / (rate + 1.0 - beta2) - share;
  };
  return with_share(falling_root(missing, 1e-200, 1.0));
}

RatioNormalised lion_pair(double rows, double target, double lr_w, double lr_gamma, double beta1, double beta2) {
  RatioNormalised out = adamw_pair(rows, target, lr_w, lr_gamma, beta1);
  out.scatter_gamma = 0.5 * lion_update_noise(2.0, beta1, beta2).long_run();
  out.noise_gamma = lion_shared_noise(beta1, beta2);
  out.noise_w = (rows - 1.0) * out.scatter_gamma + out.noise_gamma;
  const double root_2_over_pi = 0.79788456080286535588;
  out.response_w = out.response_gamma =
      root_2_over_pi / std::sqrt(beta1 * beta1 * (1.0 - beta2) / (1.0 + beta2) + (1.0 - beta1) * (1.0 - beta1));
  out.memory = 1.0 / (1.0 - beta2);
  return out;
}

double lion_shared_noise(double beta1, double beta2) {
  fraction("beta1", beta1);
  fraction("beta2", beta2);
  const double now = (1.0 - beta1) * (1.0 - beta1), past = beta1 * beta1 * (1.0 - beta2) / (1.0 + beta2),
               all = now + past;
  // ρ_m = first β₂^(m−1); Σ_{k<m} f_k² = all − past β₂^(2(m−1)).
  const double first = beta1 * (beta1 * beta2 * (1.0 - beta2) / (1.0 + beta2) + (1.0 - beta2) * (1.0 - beta1)) / all;
  // A term per odd power of ρ in ρ/√(1 − ρ²), its sum over m.
  double sum = 0.0, coefficient = 1.0, power = first;
  for (int i = 0; i < 100000; ++i) {
    const double p = 2.0 * i + 1.0;
    const double term =
        coefficient * power *
        (1.0 / -std::expm1(p * std::log(beta2)) - past / all / -std::expm1((p + 2.0) * std::log(beta2)));
    sum += term;
    if (term <= 1e-14 * sum) break;
    coefficient *= p / (p + 1.0);
    power *= first * first;
  }
  return 4.0 / 3.14159265358979323846 * sum;
}

RatioNormalised muon_pair(double size, double momentum, const Orthogonalised& by, double target, double lr_w,
                          double lr_gamma) {
  const MuonNoise n = muon_noise(size, momentum, by);
  RatioNormalised out = adamw_pair(size, target, lr_w, lr_gamma);
  out.noise_w = size * n.long_run;
  out.response_w = n.gain / n.spread;
  out.memory = std::max(out.memory, 1.0 / (1.0 - momentum));
  return out;
}

namespace {

// What first order in the learning rates neglects, at the ratio q.
struct Neglected {
  double column, scale, memory, mean_w, mean_gamma, target;
};

Neglected neglected(const RatioNormalised& p, double h, double sigma, double ratio) {
  check(p);
  positive("h", h);
  positive("sigma", sigma);
  positive("ratio", ratio);
  const double gamma = std::sqrt(p.target / ratio), w = gamma * ratio;
  // What brings θ back, per step.
  const double rate_w = p.lr_w * p.response_w * h * gamma / sigma,
               rate_gamma = p.lr_gamma * p.response_gamma * h * w / sigma;
  return {p.lr_w * p.noise_w * p.lr_w / (2.0 * rate_w * w * w),
          p.lr_gamma * p.scatter_gamma * p.lr_gamma / (2.0 * rate_gamma * gamma * gamma),
          (rate_w + rate_gamma) * p.memory,
          p.decay_w * w / p.lr_w,
          p.decay_gamma * gamma / p.lr_gamma,
          p.decay_w / rate_w};
}

}  // namespace

double normalised_ratio_error(const RatioNormalised& p, double h, double sigma, double ratio) {
  const Neglected n = neglected(p, h, sigma, ratio);
  return n.column + n.scale + 0.5 * n.memory + n.mean_w * n.mean_w + n.mean_gamma * n.mean_gamma + n.target;
}

Holds normalised_ratio_holds(const RatioNormalised& p, double h, double sigma, double ratio) {
  const Neglected n = neglected(p, h, sigma, ratio);
  Holds holds;
  at_most(holds, "the column's variance beside its square, n_w/(2 rate |w|^2)", n.column, 0.03);
  at_most(holds, "the scale's variance beside its square, n_gamma/(2 rate gamma^2)", n.scale, 0.03);
  at_most(holds, "what the updates' memory leaves of the error, rate times memory", n.memory, 0.2);
  at_most(holds, "the mean gradient that decay asks for over its noise, w", n.mean_w, 0.25);
  at_most(holds, "the mean gradient that decay asks for over its noise, gamma", n.mean_gamma, 0.25);
  at_most(holds, "the target's share that decay takes", n.target, 0.2);
  return holds;
}

double settled_ratio(const RatioFlow& flow) {
  check(flow);
  return flow.rise / flow.fall;
}

double ratio_relaxation(const RatioFlow& flow) {
  const double y = settled_ratio(flow);
  return flow.rise / (1.0 + flow.weight * y);
}

double ratio_steps(const RatioFlow& flow, double from, double to) {
  check(flow);
  positive("from", from);
  positive("to", to);
  const double end = settled_ratio(flow);
  require((from <= to && to < end) || (end < to && to <= from), "to", to, "between `from` and the fixed point, not it");
  // 1 − y/end by its own difference, so that a ratio next to the end keeps its digits.
  return std::log(to / from) / flow.rise -
         (1.0 / flow.rise + flow.weight / flow.fall) * std::log((end - to) / (end - from));
}

double ratio_after(const RatioFlow& flow, double from, double steps) {
  check(flow);
  positive("from", from);
  not_negative("steps", steps);
  const double end = settled_ratio(flow);
  if (steps == 0.0 || from == end) return from;
  // In the logarithm of y between its start and the end; the time grows without bound toward the end.
  const double way = std::log(end / from);
  const auto missing = [&](double share) {
    if (share <= 0.0) return 1.0;
    const double moved = way * share;
    // 1 − y/end = −expm1(−(way − moved)).
    const double left = std::expm1(moved - way) / std::expm1(-way);
    if (!(left > 0.0)) return -1.0;
    return steps - (moved / flow.rise - (1.0 / flow.rise + flow.weight / flow.fall) * std::log(left));
  };
  return from * std::exp(way * falling_root(missing, 0.0, 1.0));
}

RatioFlow with_growth(const RatioFlow& flow, double g) {
  finite("growth_per_step", g);
  RatioFlow out = flow;
  out.rise += flow.growth * g;
  out.fall += flow.growth * flow.weight * g;
  require(out.rise > 0.0 && out.fall > 0.0, "growth_per_step", g, "not so far below 0 that the ratio has no end");
  return out;
}

double growth_of_ratio(const RatioFlow& flow, double ratio) {
  check(flow);
  positive("ratio", ratio);
  const double gap = flow.rise - flow.fall * ratio, by = flow.growth * (flow.weight * ratio - 1.0);
  if (gap == 0.0) return 0.0;
  return by == 0.0 ? std::copysign(std::numeric_limits<double>::infinity(), gap) : gap / by;
}

double noise_as_decay(double rows, double target, double lr) {
  check_rows(rows);
  positive("target", target);
  positive("lr", lr);
  return rows * lr / (2.0 * target);
}

}  // namespace scalevec::theory
