#include "scalevec/theory/muon.hpp"

#include <cmath>

#include "scalevec/theory/domain.hpp"

namespace scalevec {

using namespace theory_domain;

MuonNoise muon_noise(double size, double momentum) {
  require(std::isfinite(size) && size >= 1.0, "size", size, "at least 1");
  fraction("momentum", momentum);
  constexpr double pi = 3.14159265358979323846;
  MuonNoise out;
  out.gain = 8.0 / (3.0 * pi) / std::sqrt(size);
  const double mu = momentum, mu_sq = mu * mu;
  const double variance = (1.0 - mu_sq) * (1.0 - mu_sq) + mu_sq * mu_sq * (1.0 - mu) / (1.0 + mu);
  out.spread = std::sqrt(variance);
  // r_k = c μ^k for k ≥ 1, with 1 + 2Σ r_k = 1/τ².
  const double c_mu = 0.5 * (1.0 / variance - 1.0) * (1.0 - mu);
  const double cubes = c_mu * c_mu * c_mu / (1.0 - mu_sq * mu);
  out.long_run = out.gain * out.gain / variance + (1.0 / size - out.gain * out.gain) * (1.0 + 2.0 * cubes);
  return out;
}

namespace {

void check_run(double sigma, double curvature, double lr, double steps) {
  positive("sigma", sigma);
  positive("curvature", curvature);
  positive("lr", lr);
  positive("steps", steps);
}

}  // namespace

double muon_error_to_noise(double size, double momentum, double sigma, double curvature, double lr, double steps) {
  check_run(sigma, curvature, lr, steps);
  const MuonNoise n = muon_noise(size, momentum);
  const double noise = n.spread * sigma;
  return n.long_run / (2.0 * n.gain * noise) * std::sqrt(lr * noise * curvature / (n.gain * steps));
}

double muon_linear_schedule_loss(double size, double momentum, double sigma, double curvature, double lr, double steps) {
  check_run(sigma, curvature, lr, steps);
  const MuonNoise n = muon_noise(size, momentum);
  constexpr double quarter_root_pi = 0.44311346272637900682;
  return 0.5 * size * size * n.long_run * quarter_root_pi * std::pow(n.spread * sigma / n.gain, 1.5) *
         std::sqrt(lr / (curvature * steps));
}

Rotation muon_rotation(double size, double momentum, double lr, double weight_decay) {
  positive("lr", lr);
  positive("weight_decay", weight_decay);
  const MuonNoise n = muon_noise(size, momentum);
  return {std::sqrt(lr * size * size * n.long_run / (2.0 * weight_decay)), std::sqrt(2.0 * lr * weight_decay / (size * n.long_run))};
}

}  // namespace scalevec
