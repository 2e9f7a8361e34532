#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/toy/toy_options.hpp"
#include "optim/core/random.hpp"

// Losses and gradients of the toys in plain double loops, from the formulas of T2 to T10: of the library only the
// random numbers.
namespace reference {

using Values = std::map<std::string, std::vector<double>>;

struct ToyPoint {
  double loss = 0.0, excess = 0.0;
  Values gradient;  // by parameter name
};

inline double draw(std::uint64_t seed, const std::string& stream, std::size_t i) {
  return scalevec::random_normal(seed, scalevec::stream_of(stream), i);
}

// σξ of element i at a step.
struct Noise {
  double sigma;
  std::uint64_t seed;
  std::int64_t step;
  double operator()(std::size_t i) const {
    return sigma *
           scalevec::random_normal(seed, scalevec::stream_of("toy.noise") + i, static_cast<std::uint64_t>(step));
  }
};

// Adds ½h(θ − θ*)² + noise·θ to the point and returns the derivative in θ.
inline double quadratic(ToyPoint& point, double h, double theta, double target, double noise, double replicas = 1.0) {
  point.loss += 0.5 * h * (theta - target) * (theta - target) + noise * theta;
  point.excess += 0.5 * h * (theta - target) * (theta - target) / replicas;
  return h * (theta - target) + noise;
}

inline ToyPoint toy_point(const scalevec::models::InputScaleOptions& o, std::uint64_t seed, const Values& at,
                          std::int64_t step) {
  ToyPoint out;
  const auto c = static_cast<std::size_t>(o.rows), n = static_cast<std::size_t>(o.replicas);
  const Noise noise{o.sigma, seed, step};
  auto& dw = out.gradient["weight"];
  dw.assign(c * n, 0.0);
  if (o.scale) out.gradient["gamma"].assign(n, 0.0);
  for (std::size_t i = 0; i < c; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      const std::size_t k = i * n + j;
      const double w = at.at("weight")[k], gamma = o.scale ? at.at("gamma")[j] : 1.0;
      const double g =
          quadratic(out, o.curvature, gamma * w, i == 0 ? o.target : 0.0, noise(k), static_cast<double>(n));
      dw[k] = gamma * g;
      if (o.scale) out.gradient["gamma"][j] += w * g;
    }
  return out;
}

inline ToyPoint toy_point(const scalevec::models::SpectrumOptions& o, std::uint64_t seed, const Values& at,
                          std::int64_t step) {
  ToyPoint out;
  const auto n = static_cast<std::size_t>(o.modes);
  const Noise noise{o.sigma, seed, step};
  for (std::size_t j = 0; j < n; ++j) {
    const double mode = static_cast<double>(j + 1), w = at.at("weight")[j], gamma = o.scale ? at.at("gamma")[j] : 1.0;
    const double g = quadratic(out, std::pow(mode, -o.a), gamma * w, o.target * std::pow(mode, -o.b), noise(j));
    out.gradient["weight"].push_back(gamma * g);
    if (o.scale) out.gradient["gamma"].push_back(w * g);
  }
  return out;
}

inline ToyPoint toy_point(const scalevec::models::BranchScalesOptions& o, std::uint64_t seed, const Values& at,
                          std::int64_t step) {
  ToyPoint out;
  const auto n = static_cast<std::size_t>(o.replicas);
  const Noise noise{o.sigma, seed, step};
  for (std::size_t c = 0; c < o.curvatures.size(); ++c) {
    const std::string branch = "branch." + std::to_string(c), scale = o.own ? branch + ".gamma" : "norm.gamma";
    auto& dgamma = out.gradient[scale];
    dgamma.resize(n, 0.0);
    for (std::size_t r = 0; r < n; ++r) {
      const double w = at.at(branch + ".weight")[r], gamma = at.at(scale)[r];
      const double g =
          quadratic(out, o.curvatures[c], gamma * w, o.targets[c], noise(c * n + r), static_cast<double>(n));
      out.gradient[branch + ".weight"].push_back(gamma * g);
      dgamma[r] += w * g;
    }
  }
  return out;
}

inline ToyPoint toy_point(const scalevec::models::PlacementOptions& o, std::uint64_t seed, const Values& at,
                          std::int64_t step) {
  ToyPoint out;
  const auto rows = static_cast<std::size_t>(o.rows), columns = static_cast<std::size_t>(o.columns);
  const auto copies = static_cast<std::size_t>(o.replicas), size = rows * columns;
  const bool input = o.scales != "none", normed = o.scales == "both_normed", output = o.scales == "both" || normed;
  const Noise noise{o.sigma, seed, step};
  auto& dw = out.gradient["map.weight"];
  dw.assign(copies * size, 0.0);
  if (input) out.gradient["input.gamma"].assign(copies * columns, 0.0);
  if (output) out.gradient["output.gamma"].assign(copies * rows, 0.0);
  for (std::size_t r = 0; r < copies; ++r) {
    std::vector<double> m(size), dm(size);
    double norm_sq = 0.0, along = 0.0;
    for (std::size_t k = 0; k < size; ++k) {
      m[k] = at.at("map.weight")[r * size + k] * (input ? at.at("input.gamma")[r * columns + k % columns] : 1.0);
      norm_sq += m[k] * m[k];
    }
    const double factor = normed ? std::sqrt(static_cast<double>(rows) / norm_sq) : 1.0;
    for (std::size_t i = 0; i < rows; ++i) {
      const double spread =
          rows > 1 ? std::pow(o.spread, static_cast<double>(i) / static_cast<double>(rows - 1) - 0.5) : 1.0;
      const double u = output ? at.at("output.gamma")[r * rows + i] : 1.0;
      for (std::size_t j = 0; j < columns; ++j) {
        const std::size_t k = i * columns + j;
        const double target =
            spread * (o.target == "full"       ? draw(seed, "toy.target", r * size + k)
                      : o.target == "diagonal" ? static_cast<double>(i == j)
                                               : draw(seed, "toy.target.rows", r * rows + i) *
                                                     draw(seed, "toy.target.columns", r * columns + j));
        const double g =
            quadratic(out, o.curvature, u * factor * m[k], target, noise(r * size + k), static_cast<double>(copies));
        if (output) out.gradient["output.gamma"][r * rows + i] += factor * m[k] * g;
        dm[k] = u * g;
        along += m[k] * dm[k] / norm_sq;
      }
    }
    for (std::size_t k = 0; k < size; ++k) {
      const double d = factor * (dm[k] - (normed ? along * m[k] : 0.0));
      dw[r * size + k] = d * (input ? at.at("input.gamma")[r * columns + k % columns] : 1.0);
      if (input) out.gradient["input.gamma"][r * columns + k % columns] += d * at.at("map.weight")[r * size + k];
    }
  }
  return out;
}

inline ToyPoint toy_point(const scalevec::models::MagnitudeDirectionOptions& o, std::uint64_t seed, const Values& at,
                          std::int64_t step) {
  ToyPoint out;
  const auto d = static_cast<std::size_t>(o.size);
  const double dd = static_cast<double>(d);
  const bool radial = o.form == "or" || o.form == "er", exponential = o.form == "exp_sum" || o.form == "exp_product";
  const std::string vector = o.form == "plain" ? "scale.gamma" : exponential ? "scale.log_alpha" : "scale.alpha";
  const std::string magnitude = o.form == "er" || o.form == "exp_sum" ? "scale.log_beta" : "scale.beta";
  const auto& a = at.at(vector);
  const double b = o.form == "plain" ? 0.0 : at.at(magnitude)[0];
  std::vector<double> t(d), gamma(d), g(d);
  double t_sq = 0.0, a_sq = 0.0, along = 0.0;
  for (std::size_t j = 0; j < d; ++j) {
    t[j] = 1.0 + o.tilt * draw(seed, "toy.target", j);
    t_sq += t[j] * t[j];
    a_sq += a[j] * a[j];
  }
  const double length = o.form == "or" ? b : std::exp(b), unit = std::sqrt(dd / a_sq);
  for (std::size_t j = 0; j < d; ++j) {
    t[j] /= std::sqrt(t_sq);
    gamma[j] = radial                ? length * unit * a[j]
               : o.form == "plain"   ? a[j]
               : o.form == "product" ? b * a[j]
               : o.form == "exp_sum" ? std::exp(b + a[j])
                                     : std::exp(b * a[j]);
    along += t[j] * (gamma[j] - o.target * std::sqrt(dd) * t[j]);
  }
  const Noise noise{o.sigma, seed, step};
  for (std::size_t j = 0; j < d; ++j) {
    g[j] = quadratic(out, o.curvature, gamma[j], o.target * std::sqrt(dd) * t[j], noise(j));
    g[j] += (o.magnitude_curvature - o.curvature) * along * t[j];
  }
  out.loss += 0.5 * (o.magnitude_curvature - o.curvature) * along * along;
  out.excess += 0.5 * (o.magnitude_curvature - o.curvature) * along * along;
  double ag = 0.0, gamma_g = 0.0;
  for (std::size_t j = 0; j < d; ++j) {
    ag += a[j] * g[j];
    gamma_g += gamma[j] * g[j];
  }
  double db = 0.0;
  std::vector<double> da(d);
  for (std::size_t j = 0; j < d; ++j) {
    if (o.form == "plain") da[j] = g[j];
    if (o.form == "product") da[j] = b * g[j];
    if (radial) da[j] = length * unit * (g[j] - ag / a_sq * a[j]);
    if (o.form == "exp_sum") da[j] = gamma[j] * g[j];
    if (o.form == "exp_product") {
      da[j] = b * gamma[j] * g[j];
      db += a[j] * gamma[j] * g[j];
    }
  }
  if (o.form == "or") db = unit * ag;
  if (o.form == "product") db = ag;
  if (o.form == "er" || o.form == "exp_sum") db = gamma_g;
  out.gradient[vector] = da;
  if (o.form != "plain") out.gradient[magnitude] = {db};
  return out;
}

inline ToyPoint toy_point(const scalevec::models::ScaleInvariantOptions& o, std::uint64_t seed, const Values& at,
                          std::int64_t step) {
  ToyPoint out;
  const auto& w = at.at("weight");
  const std::size_t n = w.size();
  double w_sq = 0.0, t_sq = 0.0, wg = 0.0;
  std::vector<double> g(n);
  for (std::size_t i = 0; i < n; ++i) {
    w_sq += w[i] * w[i];
    t_sq += std::pow(draw(seed, "toy.target", i), 2);
  }
  const Noise noise{o.sigma, seed, step};
  for (std::size_t i = 0; i < n; ++i) {
    g[i] = quadratic(out, o.signal, w[i] / std::sqrt(w_sq), draw(seed, "toy.target", i) / std::sqrt(t_sq), noise(i));
    wg += w[i] * g[i];
  }
  for (std::size_t i = 0; i < n; ++i) out.gradient["weight"].push_back((g[i] - wg / w_sq * w[i]) / std::sqrt(w_sq));
  return out;
}

inline ToyPoint toy_point(const scalevec::models::OutputScaleOptions& o, std::uint64_t seed, const Values& at,
                          std::int64_t step) {
  ToyPoint out;
  const auto n = static_cast<std::size_t>(o.replicas);
  const Noise noise{o.sigma, seed, step};
  for (std::size_t i = 0; i < n; ++i)
    out.gradient["gamma"].push_back(
        quadratic(out, o.curvature, at.at("gamma")[i], o.target, noise(i), static_cast<double>(n)));
  return out;
}

inline ToyPoint toy_point(const scalevec::models::ToyOptions& options, std::uint64_t seed, const Values& at,
                          std::int64_t step) {
  return std::visit([&](const auto& o) { return toy_point(o, seed, at, step); }, options);
}

}  // namespace reference
