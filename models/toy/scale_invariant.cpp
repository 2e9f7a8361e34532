#include "models/toy/scale_invariant.hpp"

#include <torch/types.h>
#include <torch/utils.h>

namespace scalevec::models {

ScaleInvariant::ScaleInvariant(const ScaleInvariantOptions& o, std::uint64_t seed)
    : Toy(o.sigma, seed), signal_(o.signal) {
  check_toy(o);
  weight_ = add_parameter("weight", normal_start({o.rows, o.columns}, o.init_std, "weight"), {.site = "toy"});
  add_matrix_before_norm("weight");
  const torch::Tensor t = target_draw({o.rows, o.columns});
  target_ = t / t.norm();
}

torch::Tensor ScaleInvariant::clean_loss(const torch::Tensor& direction) const {
  return 0.5 * signal_ * (direction - target_.to(direction.device())).square().sum();
}

torch::Tensor ScaleInvariant::loss(const torch::Tensor&, std::int64_t step) {
  const torch::Tensor w = direction(), clean = clean_loss(w), push = noise(w, step);
  return push.defined() ? clean + (w * push).sum() : clean;
}

double ScaleInvariant::excess() const {
  const torch::NoGradGuard no_grad;
  return clean_loss(direction()).item<double>();
}

}  // namespace scalevec::models
