#include "models/norm.hpp"

#include <torch/types.h>

#include <optional>

#include "models/ops/device.hpp"
#include "models/ops/fused.hpp"

namespace scalevec::models {

torch::Tensor Norm::operator()(const torch::Tensor& x, const torch::Tensor& gamma, ops::Reader reader) const {
  const auto weight = gamma.defined() ? std::optional<torch::Tensor>(gamma) : std::nullopt;
  if (kind == NormKind::layer) {
    const torch::Tensor y = at::layer_norm(x, {x.size(-1)}, weight, std::nullopt, eps);
    // Once for all products that read it.
    return reader == ops::Reader::products && ops::device::takes(x) ? y.to(ops::device::product_type(x)) : y;
  }
  return ops::rms_norm(x, gamma, eps, reader);
}

std::pair<torch::Tensor, torch::Tensor> Norm::of_sum(const torch::Tensor& x, const torch::Tensor& y,
                                                     const torch::Tensor& gamma, ops::Reader reader) const {
  if (kind == NormKind::rms) {
    ops::NormOfSum both = ops::rms_norm_of_sum(x, y, gamma, eps, reader);
    return {both.sum, both.normed};
  }
  const torch::Tensor sum = x + y;
  return {sum, (*this)(sum, gamma, reader)};
}

}  // namespace scalevec::models
