#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>

#include "models/scale_options.hpp"

namespace scalevec::models {

// γ [d] as a function of its parameters (ScaleForm; T8 in docs/theory.md). Holds handles to the parameters, no copies.
// A default-constructed object stands for the absence of a scale vector.
class ScaleVector {
 public:
  ScaleVector() = default;
  // vector [d]: γ, δ, log γ, α or log α. magnitude [1]: β or log β. Throws std::invalid_argument unless `magnitude` is
  // defined exactly for the forms that have one.
  ScaleVector(ScaleForm form, torch::Tensor vector, torch::Tensor magnitude = {});

  bool defined() const { return vector_.defined(); }
  ScaleForm form() const { return form_; }
  // γ [d], differentiable; undefined if there is no scale vector.
  torch::Tensor value() const;
  // The same γ in double precision, of the parameters as they are now and on their device; detached.
  torch::Tensor value_in_double() const;

  // Parameters with which every element of γ equals options.initial; float32, [size] and [1]. The magnitude is
  // undefined for forms without one.
  static torch::Tensor initial_vector(const GammaOptions& options, std::int64_t size);
  static torch::Tensor initial_magnitude(const GammaOptions& options);
  // The last part of the parameters' names (scale_form.hpp); empty: no magnitude.
  static std::string vector_name(ScaleForm form);
  static std::string magnitude_name(ScaleForm form);

 private:
  ScaleForm form_ = ScaleForm::plain;
  torch::Tensor vector_, magnitude_;
};

}  // namespace scalevec::models
