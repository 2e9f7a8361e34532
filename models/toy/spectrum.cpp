#include "models/toy/spectrum.hpp"

#include <torch/types.h>

namespace scalevec::models {

Spectrum::Spectrum(const SpectrumOptions& o, std::uint64_t seed) : QuadraticToy(o.sigma, seed) {
  check_toy(o);
  if (o.scale)
    gamma_ = add_scale("gamma", torch::full({o.modes}, o.initial, torch::kFloat64),
                       {.kind = ParamKind::scale,
                        .norm_class = NormClass::input,
                        .site = "toy",
                        .side = ScaleSide::before,
                        .part = ScalePart::value},
                       {"weight"});
  weight_ = add_parameter("weight", torch::full({1, o.modes}, o.initial_weight, torch::kFloat64), {.site = "toy"});
  const torch::Tensor j = torch::arange(1, o.modes + 1, torch::kFloat64);
  set_quadratic(j.pow(-o.a), o.target * j.pow(-o.b), 1);
}

}  // namespace scalevec::models
