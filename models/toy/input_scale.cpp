#include <torch/types.h>

#include <cstdint>
#include <memory>

#include "models/toy/toy.hpp"

namespace scalevec::models {
namespace {

// The toy of T2, T3 and T4 (docs/theory.md). Parameters: "gamma" [replicas], input-class, and "weight" [rows,
// replicas], whose columns γ scales. A replica is a column with its γ. θ [rows, replicas] = γ_jw_ij; θ* = target in row
// 0, else 0.
class InputScale : public QuadraticToy {
 public:
  InputScale(const InputScaleOptions& options, std::uint64_t seed);

  torch::Tensor theta() const override { return gamma_.defined() ? weight_ * gamma_ : weight_; }

 private:
  torch::Tensor gamma_, weight_;
};

InputScale::InputScale(const InputScaleOptions& o, std::uint64_t seed) : QuadraticToy(o.sigma, seed) {
  if (o.scale)
    gamma_ = add_scale("gamma", torch::full({o.replicas}, o.initial, torch::kFloat64),
                       scale_role(NormClass::input, "toy", ScaleSide::before), {"weight"});
  weight_ = add_parameter("weight", normal_start({o.rows, o.replicas}, o.init_std, "weight"), {.site = "toy"});
  torch::Tensor target = torch::zeros({o.rows, 1}, torch::kFloat64);
  target[0][0] = o.target;
  set_quadratic(torch::full({}, o.curvature, torch::kFloat64), target, o.replicas);
}

}  // namespace

std::unique_ptr<Toy> InputScaleOptions::make(std::uint64_t seed) const {
  return std::make_unique<InputScale>(*this, seed);
}

}  // namespace scalevec::models
