#include "theory/magnitude_direction.hpp"

#include <algorithm>
#include <cmath>

#include "theory/domain.hpp"
#include "theory/root.hpp"

namespace scalevec::theory {

using namespace domain;

namespace {
void dimension(double d) { require(std::isfinite(d) && d >= 1.0, "d", d, "at least 1"); }
}  // namespace

Amplification or_amplification(double d, double beta, double alpha_sq) {
  dimension(d);
  finite("beta", beta);
  positive("alpha_sq", alpha_sq);
  return {d, beta * beta * d / alpha_sq};
}

Amplification product_amplification(double beta, double alpha_sq) {
  finite("beta", beta);
  positive("alpha_sq", alpha_sq);
  return {beta * beta + alpha_sq, beta * beta};
}

Amplification er_amplification(double d, double b, double alpha_sq) {
  dimension(d);
  finite("b", b);
  positive("alpha_sq", alpha_sq);
  const double gamma_sq = d * std::exp(2.0 * b);
  return {gamma_sq, gamma_sq / alpha_sq};
}

double or_adam_amplification(double d, double snr) {
  dimension(d);
  require(snr >= 0.0, "snr", snr, "at least 0");
  // In 1/s² where s is large, so that s → ∞ gives 1.
  if (snr > 1.0) {
    const double inverse = 1.0 / snr / snr;
    return std::sqrt((1.0 + inverse) / (1.0 + inverse / d));
  }
  return std::sqrt((snr * snr + 1.0) / (snr * snr + 1.0 / d));
}

Holds or_adam_amplification_holds(double d, double snr, double lr, double beta1, double beta2, double steps) {
  dimension(d);
  require(snr >= 0.0, "snr", snr, "at least 0");
  positive("lr", lr);
  fraction("beta1", beta1);
  fraction("beta2", beta2);
  positive("steps", steps);
  Holds holds;
  at_least(holds, "the signal-to-noise ratio s", snr, 1e-6);
  at_most(holds, "what the direction's noise adds to |alpha|^2, lr^2 steps", lr * lr * steps, 0.05);
  at_most(holds, "the second moment's noise, 1 - beta2", 1.0 - beta2, 0.05);
  // Bias-corrected moments start at once, but their first few steps are those of signs.
  at_least(holds, "the steps in units of the moments' memory", steps * std::min(1.0 - beta1, 1.0 - beta2), 5.0);
  // Of the magnitude, the faster one.
  const double speed = snr > 1e8 ? 1.0 : snr / std::sqrt(snr * snr + 1.0 / d);
  at_most(holds, "how far the magnitude moves over the run, beside itself", lr * steps * speed, 0.3);
  return holds;
}

double or_adam_amplification(std::span<const double> snr) {
  require(!snr.empty(), "snr", 0.0, "at least one coordinate");
  const double d = static_cast<double>(snr.size());
  double largest = 0.0, sum = 0.0, plain = 0.0;
  for (const double s : snr) {
    finite("snr", s);
    largest = std::max(largest, std::abs(s));
    plain += s / std::hypot(s, 1.0);
  }
  require(plain != 0.0, "snr", plain, "signals whose steps do not cancel");
  // The magnitude's gradient is the sum of the coordinates', of signal-to-noise ratio Σs/√d.
  for (const double s : snr) sum += s / largest;
  const double whole = sum * (largest / std::sqrt(d));
  return d * (whole / std::hypot(whole, 1.0)) / plain;
}

namespace {

void check_turn(double h_mag, double h_dir, double beta_target, double tan_from, double tan_to) {
  positive("h_mag", h_mag);
  positive("h_dir", h_dir);
  positive("beta_target", beta_target);
  positive("tan_from", tan_from);
  require(tan_to > 0.0 && tan_to <= tan_from, "tan_to", tan_to, "in (0, tan_from]");
}

}  // namespace

double or_turn_time(double h_mag, double h_dir, double beta_target, double tan_from, double tan_to) {
  check_turn(h_mag, h_dir, beta_target, tan_from, tan_to);
  const double from = tan_from * tan_from, to = tan_to * tan_to, rho = h_dir / h_mag;
  // By the differences themselves, so that a short way keeps its digits.
  const double between = (from - to) / (1.0 + to);  // (1 + u₀)/(1 + u) − 1
  const double sum = 2.0 * std::log(tan_from / tan_to) + (rho * rho - 1.0) * std::log1p(between) -
                     (1.0 - rho) * (1.0 - rho) * between / (1.0 + from);
  return sum / (2.0 * beta_target * beta_target * h_dir);
}

Holds or_turn_time_holds(double d, double h_mag, double h_dir, double beta_target, double tan_from, double tan_to) {
  dimension(d);
  check_turn(h_mag, h_dir, beta_target, tan_from, tan_to);
  const double rho = h_dir / h_mag;
  Holds holds;
  for (const double tangent : {tan_from, tan_to}) {
    const double u = tangent * tangent, share = (1.0 + rho * u) / (1.0 + u);  // D/h_mag, and 1 over the speed's root
    at_least(holds, "the magnitude's rate over the direction's",
             d * share * share * share / (rho * beta_target * beta_target), 10.0);
  }
  return holds;
}

double or_turn_curvature(double h_mag, double h_dir, double tan_from) {
  check_turn(h_mag, h_dir, 1.0, tan_from, tan_from);
  const double u = tan_from * tan_from;
  return std::max(h_mag, (h_mag + h_dir * u) / (1.0 + u));
}

double or_alpha_sq(double d, double lr, double steps) {
  require(std::isfinite(d) && d >= 2.0, "d", d, "at least 2: one element has no direction to learn");
  positive("lr", lr);
  not_negative("steps", steps);
  return d * (1.0 + lr * lr * steps);
}

Holds or_alpha_sq_holds(double d, double lr, double beta1, double beta2, double steps) {
  or_alpha_sq(d, lr, steps);
  fraction("beta1", beta1);
  fraction("beta2", beta2);
  Holds holds;
  at_least(holds, "d", d, 16.0);
  at_most(holds, "the second moment's noise, 1 - beta2", 1.0 - beta2, 0.05);
  // Gradients shrink as 1/|alpha|, and old ones are not orthogonal to it any more.
  at_most(holds, "what |alpha|^2 grows by over the moments' memory, lr^2/(1 - beta)",
          lr * lr / (1.0 - std::max(beta1, beta2)), 0.05);
  at_least(holds, "the steps in units of the first moment's memory", steps * (1.0 - beta1), 20.0);
  return holds;
}

double or_alpha_sq_limit(double d, double lr, double weight_decay) {
  require(std::isfinite(d) && d >= 2.0, "d", d, "at least 2: one element has no direction to learn");
  positive("lr", lr);
  positive("weight_decay", weight_decay);
  return lr * d / (2.0 * weight_decay);
}

double or_beta_flow_equilibrium(double h, double d, double beta_target, double weight_decay) {
  positive("h", h);
  dimension(d);
  finite("beta_target", beta_target);
  not_negative("weight_decay", weight_decay);
  return beta_target / (1.0 + weight_decay / (h * d));
}

double er_rms_flow_equilibrium(double h, double d, double rms_target, double weight_decay) {
  positive("h", h);
  dimension(d);
  require(rms_target > 0.0 && rms_target <= 4.0 * std::exp(1.5), "rms_target", rms_target, "(0, 4e^1.5 = 17.93]");
  not_negative("weight_decay", weight_decay);
  const double end = std::log(rms_target);
  // With b = share · ln R the pull back to 0 grows over (0, 1) where R < 1, and crosses the line λb once where 1 < R ≤
  // 4e^{3/2}: one root.
  const auto outward = [&](double share) {
    const double b = share * end, up = -h * d * rms_target * std::expm1(b - end) * std::exp(b) - weight_decay * b;
    return end > 0.0 ? up : -up;
  };
  return std::exp(falling_root(outward, 0.0, 1.0) * end);
}

}  // namespace scalevec::theory
