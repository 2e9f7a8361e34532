#include "models/scale_vector.hpp"

#include <torch/types.h>

#include <cmath>
#include <stdexcept>
#include <utility>

#include "models/ops/fused.hpp"

namespace scalevec::models {

ScaleVector::ScaleVector(ScaleForm form, torch::Tensor vector, torch::Tensor magnitude)
    : form_(form), vector_(std::move(vector)), magnitude_(std::move(magnitude)) {
  if (magnitude_.defined() != has_magnitude(form))
    throw std::invalid_argument("scale form " + std::string(to_string(form)) + ": a magnitude is " +
                                (has_magnitude(form) ? "needed" : "not allowed"));
}

torch::Tensor ScaleVector::value() const {
  if (!defined()) return {};
  switch (form_) {
    case ScaleForm::plain:
      return vector_;
    case ScaleForm::zero_centred:
      return vector_ + 1.0;
    case ScaleForm::exponential:
      return vector_.exp();
    case ScaleForm::original:
      return ops::radial(vector_, magnitude_, /*exponential=*/false);
    case ScaleForm::product:
      return magnitude_ * vector_;
    case ScaleForm::exponential_radial:
      return ops::radial(vector_, magnitude_, /*exponential=*/true);
    case ScaleForm::exponential_sum:
      return (magnitude_ + vector_).exp();
    case ScaleForm::exponential_product:
      return (magnitude_ * vector_).exp();
  }
  return {};
}

torch::Tensor ScaleVector::value_in_double() const {
  const torch::NoGradGuard no_grad;
  const auto in_double = [](const torch::Tensor& t) { return t.defined() ? t.to(torch::kCPU, torch::kFloat64) : t; };
  return ScaleVector(form_, in_double(vector_), in_double(magnitude_)).value();
}

torch::Tensor ScaleVector::initial_vector(const GammaOptions& options, std::int64_t size) {
  double value = 1.0;
  if (options.form == ScaleForm::plain) value = options.initial;
  if (options.form == ScaleForm::zero_centred) value = options.initial - 1.0;
  if (options.form == ScaleForm::exponential || options.form == ScaleForm::exponential_product)
    value = std::log(options.initial);
  if (options.form == ScaleForm::exponential_sum) value = 0.0;
  return torch::full({size}, value, torch::kFloat32);
}

torch::Tensor ScaleVector::initial_magnitude(const GammaOptions& options) {
  if (!has_magnitude(options.form)) return {};
  double value = is_positive(options.form) ? std::log(options.initial) : options.initial;
  if (options.form == ScaleForm::exponential_product) value = 1.0;
  return torch::full({1}, value, torch::kFloat32);
}

std::string ScaleVector::vector_name(ScaleForm form) {
  if (form == ScaleForm::exponential_sum || form == ScaleForm::exponential_product) return "log_alpha";
  if (has_magnitude(form)) return "alpha";
  if (form == ScaleForm::zero_centred) return "delta";
  return form == ScaleForm::exponential ? "log_gamma" : "gamma";
}

std::string ScaleVector::magnitude_name(ScaleForm form) {
  return form == ScaleForm::exponential_radial || form == ScaleForm::exponential_sum ? "log_beta" : "beta";
}

}  // namespace scalevec::models
