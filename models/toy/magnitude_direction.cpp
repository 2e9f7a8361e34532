#include "models/toy/magnitude_direction.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <string>

namespace scalevec::models {
namespace {

ScaleForm form_of(const std::string& word) {
  for (const ScaleForm form : {ScaleForm::plain, ScaleForm::original, ScaleForm::product, ScaleForm::exponential_radial,
                               ScaleForm::exponential_sum, ScaleForm::exponential_product})
    if (to_string(form) == word) return form;
  throw std::invalid_argument("form: got " + word);
}

}  // namespace

MagnitudeDirection::MagnitudeDirection(const MagnitudeDirectionOptions& o, std::uint64_t seed)
    : Toy(o.sigma, seed), options_(o) {
  check_toy(o);
  GammaOptions gamma;
  gamma.form = form_of(o.form);
  gamma_ = add_scale_vector("scale", gamma, o.size, {.site = "toy", .side = ScaleSide::after}, {});
  // Their initial values, 0 and 1, are float32 without loss.
  to(torch::kFloat64);
  const torch::Tensor t = 1.0 + o.tilt * target_draw({o.size});
  target_ = o.target * t * t.square().mean().rsqrt();
}

torch::Tensor MagnitudeDirection::clean_loss(const torch::Tensor& gamma) const {
  const torch::Tensor target = target_.to(gamma.device()), off = gamma - target;
  const torch::Tensor along = (off * target).sum().square() / target.square().sum();
  return 0.5 * options_.curvature * off.square().sum() +
         0.5 * (options_.magnitude_curvature - options_.curvature) * along;
}

torch::Tensor MagnitudeDirection::loss(const torch::Tensor&, std::int64_t step) {
  const torch::Tensor gamma = gamma_.value();
  const torch::Tensor clean = clean_loss(gamma), push = noise(gamma, step);
  return push.defined() ? clean + (gamma * push).sum() : clean;
}

double MagnitudeDirection::excess() const {
  const torch::NoGradGuard no_grad;
  return clean_loss(gamma_.value()).item<double>();
}

}  // namespace scalevec::models
