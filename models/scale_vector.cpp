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
  struct {
    torch::Tensor radial(const torch::Tensor& a, const torch::Tensor& m, bool exponential) const {
      return ops::radial(a, m, exponential);
    }
  } of_tensors;
  return with_form(form_, [&](auto form) { return form.map(vector_, magnitude_, of_tensors); });
}

torch::Tensor ScaleVector::value_in_double() const {
  const torch::NoGradGuard no_grad;
  const auto in_double = [](const torch::Tensor& t) { return t.defined() ? t.detach().to(torch::kFloat64) : t; };
  return ScaleVector(form_, in_double(vector_), in_double(magnitude_)).value();
}

torch::Tensor ScaleVector::initial_vector(const GammaOptions& options, std::int64_t size) {
  const double value = with_form(options.form, [&](auto f) { return f.start(options.initial).first; });
  return torch::full({size}, value, torch::kFloat32);
}

torch::Tensor ScaleVector::initial_magnitude(const GammaOptions& options) {
  if (!has_magnitude(options.form)) return {};
  const double value = with_form(options.form, [&](auto f) { return f.start(options.initial).second; });
  return torch::full({1}, value, torch::kFloat32);
}

std::string ScaleVector::vector_name(ScaleForm form) {
  return with_form(form, [](auto f) { return std::string(f.vector); });
}

std::string ScaleVector::magnitude_name(ScaleForm form) {
  return with_form(form, [](auto f) { return std::string(f.magnitude); });
}

}  // namespace scalevec::models
