#include "models/toy/output_scale.hpp"

#include <torch/types.h>

namespace scalevec::models {

OutputScale::OutputScale(const OutputScaleOptions& o, std::uint64_t seed) : QuadraticToy(o.sigma, seed) {
  check_toy(o);
  gamma_ = add_scale("gamma", torch::full({o.replicas}, o.initial, torch::kFloat64),
                     {.kind = ParamKind::scale,
                      .norm_class = NormClass::output,
                      .site = "toy",
                      .side = ScaleSide::after,
                      .part = ScalePart::value},
                     {});
  set_quadratic(torch::full({}, o.curvature, torch::kFloat64), torch::full({}, o.target, torch::kFloat64), o.replicas);
}

}  // namespace scalevec::models
