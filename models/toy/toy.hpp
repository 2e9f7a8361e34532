#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "models/model.hpp"
#include "models/toy/toy_options.hpp"

namespace scalevec::models {

// A toy model of the theory: float64 parameters and a loss without data. Its gradient noise comes from counter-based
// random numbers, so that a simulation without LibTorch uses the same numbers.
class Toy : public Model {
 public:
  bool needs_tokens() const override { return false; }
  std::int64_t vocab_size() const override { return 0; }

  // The loss without noise minus its minimum, mean over replicas.
  virtual double excess() const = 0;

 protected:
  Toy(double sigma, std::uint64_t seed) : sigma_(sigma), seed_(seed) {}

  // The noise σξ of a step, in the shape of `like`; element i in row-major order is σ·random_normal(seed,
  // stream_of("toy.noise") + i, step). Undefined if σ = 0.
  torch::Tensor noise(const torch::Tensor& like, std::int64_t step) const;
  // normal_start: initial values N(0, std²), float64, for the parameter `name`. target_draw: draws of N(0, 1), from
  // which a target is made.
  torch::Tensor normal_start(at::IntArrayRef shape, double std, std::string_view name) const;
  torch::Tensor target_draw(at::IntArrayRef shape, std::string_view what = "") const;

 private:
  double sigma_;
  std::uint64_t seed_;
};

// A toy with loss Σ_i [½h_i(θ_i − θ*_i)² + σξ_iθ_i], whose gradient in θ is h(θ − θ*) + σξ.
class QuadraticToy : public Toy {
 public:
  torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) override;
  double excess() const override;

  // θ as a function of the parameters. target() is θ* and curvature() is h, both in θ's shape or one that broadcasts to
  // it.
  virtual torch::Tensor theta() const = 0;
  const torch::Tensor& target() const { return target_; }
  const torch::Tensor& curvature() const { return curvature_; }

 protected:
  using Toy::Toy;
  void set_quadratic(const torch::Tensor& curvature, const torch::Tensor& target, std::int64_t replicas);

 private:
  torch::Tensor curvature_, target_;
  double replicas_ = 1.0;
};

// The role of a scale vector that is γ itself.
inline ParamRole scale_role(NormClass norm_class, const std::string& site, ScaleSide side) {
  return {.kind = ParamKind::scale, .norm_class = norm_class, .site = site, .side = side, .part = ScalePart::value};
}

// The toy with these options. Throws std::invalid_argument with toy_error().
std::unique_ptr<Toy> make_toy(const ToyOptions& options, std::uint64_t seed);

}  // namespace scalevec::models
