#include "models/toy/input_scale.hpp"

#include <torch/types.h>

namespace scalevec::models {

InputScale::InputScale(const InputScaleOptions& o, std::uint64_t seed) : QuadraticToy(o.sigma, seed) {
  check_toy(o);
  if (o.scale)
    gamma_ = add_scale("gamma", torch::full({o.replicas}, o.initial, torch::kFloat64),
                       {.kind = ParamKind::scale,
                        .norm_class = NormClass::input,
                        .site = "toy",
                        .side = ScaleSide::before,
                        .part = ScalePart::value},
                       {"weight"});
  weight_ = add_parameter("weight", normal_start({o.rows, o.replicas}, o.init_std, "weight"), {.site = "toy"});
  torch::Tensor target = torch::zeros({o.rows, 1}, torch::kFloat64);
  target[0][0] = o.target;
  set_quadratic(torch::full({}, o.curvature, torch::kFloat64), target, o.replicas);
}

}  // namespace scalevec::models
