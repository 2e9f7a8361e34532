#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string_view>

#include "scalevec/models/model.hpp"
#include "scalevec/models/toy/toy_options.hpp"

namespace scalevec {

// A toy model of the theory: float64 parameters, a loss without data, gradient noise from counters, so that a
// simulation without LibTorch sees the same numbers.
class Toy : public Model {
 public:
  bool needs_tokens() const override { return false; }
  std::int64_t vocab_size() const override { return 0; }

  // What the loss without noise lies above its minimum, mean over replicas.
  virtual double excess() const = 0;

 protected:
  Toy(double sigma, std::uint64_t seed) : sigma_(sigma), seed_(seed) {}

  // σξ of a step in the shape of `like`: of element i, row-major, σ·random_normal(seed, stream_of("toy.noise") + i,
  // step). Undefined if σ = 0.
  torch::Tensor noise(const torch::Tensor& like, std::int64_t step) const;
  // Initial values N(0, std²), float64, of parameter `name`; and draws N(0, 1) for what is to be learned.
  torch::Tensor normal_start(at::IntArrayRef shape, double std, std::string_view name) const;
  torch::Tensor target_draw(at::IntArrayRef shape, std::string_view what = "") const;

 private:
  double sigma_;
  std::uint64_t seed_;
};

// Σ_i [½h_i(θ_i − θ*_i)² + σξ_iθ_i], whose gradient in θ is h(θ − θ*) + σξ.
class QuadraticToy : public Toy {
 public:
  torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) override;
  double excess() const override;

  // θ as a function of the parameters, and θ* and h in its shape or one that broadcasts to it.
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

// Throws std::invalid_argument with toy_error().
std::unique_ptr<Toy> make_toy(const ToyOptions& options, std::uint64_t seed);

// The same for one toy's constructor.
void check_toy(const ToyOptions& options);

}  // namespace scalevec
