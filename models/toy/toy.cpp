#include "models/toy/toy.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <stdexcept>
#include <string>

#include "models/initial_value.hpp"
#include "models/toy/branch_scales.hpp"
#include "models/toy/input_scale.hpp"
#include "models/toy/magnitude_direction.hpp"
#include "models/toy/output_scale.hpp"
#include "models/toy/placement.hpp"
#include "models/toy/scale_invariant.hpp"
#include "models/toy/spectrum.hpp"
#include "optim/core/random.hpp"

namespace scalevec::models {

torch::Tensor Toy::noise(const torch::Tensor& like, std::int64_t step) const {
  if (sigma_ == 0.0) return {};
  torch::Tensor values = torch::empty(like.sizes(), torch::kFloat64);
  double* xi = values.data_ptr<double>();
  const std::uint64_t stream = stream_of("toy.noise");
  for (std::int64_t i = 0; i < values.numel(); ++i)
    xi[i] = sigma_ * random_normal(seed_, stream + static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(step));
  return values.to(like.device());
}

torch::Tensor Toy::normal_start(at::IntArrayRef shape, double std, std::string_view name) const {
  return normal_values(shape, std, seed_, name, torch::kFloat64);
}

torch::Tensor Toy::target_draw(at::IntArrayRef shape, std::string_view what) const {
  return normal_values(shape, 1.0, seed_, "toy.target" + std::string(what), torch::kFloat64);
}

void QuadraticToy::set_quadratic(const torch::Tensor& curvature, const torch::Tensor& target, std::int64_t replicas) {
  curvature_ = curvature;
  target_ = target;
  replicas_ = static_cast<double>(replicas);
}

torch::Tensor QuadraticToy::loss(const torch::Tensor&, std::int64_t step) {
  const torch::Tensor at = theta();
  const torch::Tensor half_curvature = 0.5 * curvature_.to(at.device());
  torch::Tensor total = (at - target_.to(at.device())).square() * half_curvature;
  if (const torch::Tensor push = noise(at, step); push.defined()) total = total + at * push;
  return total.sum();
}

double QuadraticToy::excess() const {
  const torch::NoGradGuard no_grad;
  const torch::Tensor at = theta().cpu();
  return 0.5 * ((at - target_).square() * curvature_).sum().item<double>() / replicas_;
}

void check_toy(const ToyOptions& options) {
  if (const std::string error = toy_error(options); !error.empty()) throw std::invalid_argument(error);
}

namespace {

std::unique_ptr<Toy> make(const OutputScaleOptions& o, std::uint64_t seed) {
  return std::make_unique<OutputScale>(o, seed);
}
std::unique_ptr<Toy> make(const InputScaleOptions& o, std::uint64_t seed) {
  return std::make_unique<InputScale>(o, seed);
}
std::unique_ptr<Toy> make(const BranchScalesOptions& o, std::uint64_t seed) {
  return std::make_unique<BranchScales>(o, seed);
}
std::unique_ptr<Toy> make(const PlacementOptions& o, std::uint64_t seed) {
  return std::make_unique<Placement>(o, seed);
}
std::unique_ptr<Toy> make(const MagnitudeDirectionOptions& o, std::uint64_t seed) {
  return std::make_unique<MagnitudeDirection>(o, seed);
}
std::unique_ptr<Toy> make(const ScaleInvariantOptions& o, std::uint64_t seed) {
  return std::make_unique<ScaleInvariant>(o, seed);
}
std::unique_ptr<Toy> make(const SpectrumOptions& o, std::uint64_t seed) { return std::make_unique<Spectrum>(o, seed); }

}  // namespace

std::unique_ptr<Toy> make_toy(const ToyOptions& options, std::uint64_t seed) {
  return std::visit([&](const auto& o) { return make(o, seed); }, options);
}

}  // namespace scalevec::models
