#include "optim/matrix/squares.hpp"

#include <stdexcept>

#include "optim/parallel/parallel.hpp"

namespace scalevec::kernels {

Dtype kernel_dtype(const torch::Tensor& tensor, const std::string& name) {
  switch (tensor.scalar_type()) {
    case torch::kFloat32:
      return Dtype::float32;
    case torch::kFloat64:
      return Dtype::float64;
    case torch::kBFloat16:
      return Dtype::bfloat16;
    case torch::kFloat16:
      return Dtype::float16;
    default:
      throw std::invalid_argument(name + ": dtype " + std::string(c10::toString(tensor.scalar_type())) +
                                  "; allowed: float32, float64, bfloat16, float16");
  }
}

double squared_norm(const torch::Tensor& x) { return squared_row_norms(x, 1)[0]; }

std::vector<double> squared_row_norms(const torch::Tensor& x, std::int64_t rows) {
  const Dtype dtype = kernel_dtype(x, "a sum of squares");
  const std::int64_t length = rows > 0 ? x.numel() / rows : 0;
  const auto* data = static_cast<const char*>(x.const_data_ptr());
  std::vector<GradView> views;
  for (std::int64_t i = 0; i < rows; ++i)
    views.push_back({dtype, data + i * length * static_cast<std::int64_t>(x.element_size()), length});
  return squared_norms(views, parallel_for);
}

}  // namespace scalevec::kernels
