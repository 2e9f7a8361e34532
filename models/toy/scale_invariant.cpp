#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <memory>

#include "models/toy/toy.hpp"

namespace scalevec::models {
namespace {

// The toy of T9 (docs/theory.md): "weight" W [rows, columns] before a norm. The loss signal·½‖ŵ − t‖² + σξ·ŵ depends
// only on ŵ = W/‖W‖, so its gradient is orthogonal to W and proportional to 1/‖W‖. t is random with ‖t‖ = 1.
class ScaleInvariant : public Toy {
 public:
  ScaleInvariant(const ScaleInvariantOptions& options, std::uint64_t seed);

  torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) override;
  // signal·½‖ŵ − t‖².
  double excess() const override;

 private:
  torch::Tensor direction() const { return weight_ * weight_.square().sum().rsqrt(); }
  torch::Tensor clean_loss(const torch::Tensor& direction) const;

  double signal_;
  torch::Tensor weight_, target_;
};

ScaleInvariant::ScaleInvariant(const ScaleInvariantOptions& o, std::uint64_t seed)
    : Toy(o.sigma, seed), signal_(o.signal) {
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

}  // namespace

std::unique_ptr<Toy> ScaleInvariantOptions::make(std::uint64_t seed) const {
  return std::make_unique<ScaleInvariant>(*this, seed);
}

}  // namespace scalevec::models
