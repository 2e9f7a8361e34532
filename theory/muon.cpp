#include "theory/muon.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "optim/core/random.hpp"
#include "theory/dense.hpp"
#include "theory/domain.hpp"

namespace scalevec::theory {

using namespace domain;

Orthogonalised polar_factor(double size) {
  require(std::isfinite(size) && size >= 1.0, "size", size, "at least 1");
  constexpr double pi = 3.14159265358979323846;
  return {8.0 / (3.0 * pi) / std::sqrt(size), 1.0};
}

MuonNoise muon_noise(double size, double momentum) { return muon_noise(size, momentum, polar_factor(size)); }

MuonNoise muon_noise(double size, double momentum, const Orthogonalised& by) {
  require(std::isfinite(size) && size >= 1.0, "size", size, "at least 1");
  fraction("momentum", momentum);
  positive("gain", by.gain);
  positive("mean_square", by.mean_square);
  MuonNoise out;
  out.gain = by.gain;
  const double mu = momentum, mu_sq = mu * mu;
  const double variance = (1.0 - mu_sq) * (1.0 - mu_sq) + mu_sq * mu_sq * (1.0 - mu) / (1.0 + mu);
  out.spread = std::sqrt(variance);
  // r_k = c μ^k for k ≥ 1, with 1 + 2Σ r_k = 1/τ².
  const double c_mu = 0.5 * (1.0 / variance - 1.0) * (1.0 - mu);
  const double cubes = c_mu * c_mu * c_mu / (1.0 - mu_sq * mu);
  out.long_run = out.gain * out.gain / variance + (by.mean_square / size - out.gain * out.gain) * (1.0 + 2.0 * cubes);
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

namespace {

// ∫_0^1 u² e^{−yu²} du.
double second_moment(double y) {
  if (y < 0.5) {
    double term = 1.0, sum = 1.0 / 3.0;
    for (int k = 1; std::abs(term) > 1e-18; ++k) {
      term *= -y / k;
      sum += term / (2 * k + 3);
    }
    return sum;
  }
  constexpr double quarter_root_pi = 0.44311346272637900682;
  const double x = std::sqrt(y);
  return (quarter_root_pi * std::erf(x) / x - 0.5 * std::exp(-y)) / y;
}

}  // namespace

double muon_linear_schedule_loss(double size, double momentum, double sigma, double curvature, double lr, double steps,
                                 double distance) {
  check_run(sigma, curvature, lr, steps);
  not_negative("distance", distance);
  const MuonNoise n = muon_noise(size, momentum);
  const double turns = n.gain / (n.spread * sigma) * curvature * lr * steps;
  return 0.5 * curvature *
         (size * size * n.long_run * (lr * lr * steps) * second_moment(turns) + distance * distance * std::exp(-turns));
}

Holds muon_linear_schedule_holds(double size, double momentum, double sigma, double curvature, double lr,
                                 double steps) {
  Holds holds;
  at_least(holds, "the size n", size, 6.0);
  at_most(holds, "the error over its noise", muon_error_to_noise(size, momentum, sigma, curvature, lr, steps), 0.5);
  at_most(holds, "the momentum's memory over the run", 1.0 / (1.0 - momentum) / steps, 0.05);
  const MuonNoise n = muon_noise(size, momentum);
  at_most(holds, "the pull per memory of the momentum", n.gain / (n.spread * sigma) * curvature * lr / (1.0 - momentum),
          0.4);
  return holds;
}

namespace {

double quintic(double s) {
  for (int step = 0; step < 5; ++step) s *= 3.4445 + s * s * (-4.7750 + 2.0315 * s * s);
  return s;
}

// Means over x = 1 + q + 2√q cos φ, the eigenvalues of NNᵀ over the longer side, whose density in φ is 2 sin²φ/(πx):
// the midpoint rule of a periodic function.
template <class Function>
Orthogonalised over_spectrum(double rows, double columns, const Function& f) {
  require(std::isfinite(rows) && rows >= 1.0, "rows", rows, "at least 1");
  require(std::isfinite(columns) && columns >= 1.0, "columns", columns, "at least 1");
  const double least = std::min(rows, columns), most = std::max(rows, columns), q = least / most;
  constexpr int points = 4096;
  constexpr double pi = 3.14159265358979323846;
  Orthogonalised out{0.0, 0.0};
  for (int i = 0; i < points; ++i) {
    const double phi = pi * (i + 0.5) / points, x = 1.0 + q + 2.0 * std::sqrt(q) * std::cos(phi);
    const double weight = 2.0 * std::sin(phi) * std::sin(phi) / x / points, s = std::sqrt(most * x);
    const double made = f(s / std::sqrt(rows * columns));
    out.gain += weight * made * s / most;
    out.mean_square += weight * made * made;
  }
  return out;
}

}  // namespace

Orthogonalised polar_spectrum(double rows, double columns) {
  return over_spectrum(rows, columns, [](double) { return 1.0; });
}

Orthogonalised quintic_spectrum(double rows, double columns) { return over_spectrum(rows, columns, quintic); }

Orthogonalised quintic_steps(int size) {
  require(size >= 1 && size <= 1024, "size", size, "1 to 1024");
  const int draws = std::max(64, 8192 / (size * size));
  const auto n = static_cast<std::uint64_t>(size);
  Orthogonalised out{0.0, 0.0};
  std::vector<double> noise(n * n);
  for (int draw = 0; draw < draws; ++draw) {
    double sum = 0.0;
    for (std::size_t i = 0; i < noise.size(); ++i) {
      noise[i] = random_normal(1, stream_of("muon.noise"), static_cast<std::uint64_t>(draw) * n * n + i);
      sum += noise[i] * noise[i];
    }
    const double length = std::sqrt(sum);
    for (const double value : singular_values(noise, n)) {
      const double s = quintic(value / length);
      out.gain += s * value / (draws * static_cast<double>(size) * size);
      out.mean_square += s * s / (draws * static_cast<double>(size));
    }
  }
  return out;
}

Rotation muon_rotation(double size, double momentum, double lr, double weight_decay) {
  return muon_rotation(size, momentum, lr, weight_decay, polar_factor(size));
}

Rotation muon_rotation(double size, double momentum, double lr, double weight_decay, const Orthogonalised& by) {
  positive("lr", lr);
  positive("weight_decay", weight_decay);
  const MuonNoise n = muon_noise(size, momentum, by);
  return {std::sqrt(lr * size * size * n.long_run / (2.0 * weight_decay)),
          std::sqrt(2.0 * lr * weight_decay * by.mean_square / (size * n.long_run))};
}

Holds muon_rotation_holds(double size, double momentum, double lr, double weight_decay) {
  fraction("momentum", momentum);
  positive("lr", lr);
  positive("weight_decay", weight_decay);
  Holds holds;
  at_least(holds, "the size n", size, 12.0);
  at_most(holds, "the decay per memory of the momentum, lr decay/(1 - momentum)", lr * weight_decay / (1.0 - momentum),
          0.03);
  return holds;
}

}  // namespace scalevec::theory
