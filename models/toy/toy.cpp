#include "models/toy/toy.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <stdexcept>
#include <string>

#include "models/initial_value.hpp"
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

std::unique_ptr<Toy> make_toy(const ToyOptions& options, std::uint64_t seed) {
  if (const std::string error = toy_error(options); !error.empty()) throw std::invalid_argument(error);
  return std::visit([&](const auto& o) { return o.make(seed); }, options);
}

}  // namespace scalevec::models
