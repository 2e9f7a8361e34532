#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>

#include "scalevec/models/scale_options.hpp"

namespace scalevec {

// γ [d] as a function of its parameters (T8): handles to them, no copies. Undefined where there is no scale.
class ScaleVector {
 public:
  ScaleVector() = default;
  // vector [d]: γ, δ, log γ, α or log α. magnitude [1]: β or log β, for the forms that have one.
  ScaleVector(ScaleForm form, torch::Tensor vector, torch::Tensor magnitude = {});

  bool defined() const { return vector_.defined(); }
  ScaleForm form() const { return form_; }
  // γ [d], differentiable; undefined if the scale is.
  torch::Tensor value() const;

  // Parameters that make every element of γ equal to `initial`, float32.
  static torch::Tensor initial_vector(const GammaOptions& options, std::int64_t size);
  static torch::Tensor initial_magnitude(const GammaOptions& options);
  // The last part of the parameters' names: "gamma", "delta", "log_gamma", "alpha", "log_alpha"; "beta", "log_beta".
  static std::string vector_name(ScaleForm form);
  static std::string magnitude_name(ScaleForm form);

 private:
  ScaleForm form_ = ScaleForm::plain;
  torch::Tensor vector_, magnitude_;
};

}  // namespace scalevec
