#pragma once

#include <torch/types.h>

#include <stdexcept>
#include <string>

// What our operators share.
namespace scalevec::models::ops {

// Calls body with a value of x's element type: double for float64, else float.
template <class Body>
void by_dtype(const torch::Tensor& x, const Body& body) {
  if (x.scalar_type() == torch::kFloat64)
    body(double{});
  else
    body(float{});
}

// Throws std::logic_error if gradients of gradients are being recorded.
inline void refuse_double_backward(const char* instead = ", or ops::composed") {
  if (torch::GradMode::is_enabled())
    throw std::logic_error(
        std::string("a fused operator has no gradient of its gradient; allowed: create_graph = false") + instead);
}

}  // namespace scalevec::models::ops
