#include "models/ops/device.hpp"
#include "models/ops/device_rows.hpp"

namespace scalevec::models::ops::device {

using torch::Tensor;

Tensor scaled_matrix(const Tensor& weight, const Tensor& row, const Tensor& column, torch::ScalarType type) {
  const Tensor w = with_equal_rows(weight);
  Tensor out = at::empty(w.sizes(), w.options().dtype(type));
  enqueue(w, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
    launches.scale_matrix(
        {rows_in(w), data_or_null<float>(row), data_or_null<float>(column), rows_out(out), w.size(0), w.size(1)},
        stream);
  });
  return out;
}

MatrixGrads scaled_matrix_backward(const Tensor& output_grad, const Tensor& weight, const Tensor& row,
                                   const Tensor& column) {
  const Tensor grad = with_equal_rows(output_grad), w = with_equal_rows(weight);
  const std::int64_t n = w.size(0), d = w.size(1);
  const auto floating = w.options().dtype(torch::kFloat32);
  MatrixGrads out{at::empty(w.sizes(), w.options()), row.defined() ? at::empty({n}, floating) : Tensor(),
                  column.defined() ? at::empty({d}, floating) : Tensor()};
  Tensor parts = column.defined() ? scratch(w, n, d) : Tensor();
  enqueue(w, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
    launches.scale_matrix_backward({rows_in(grad), rows_in(w), data_or_null<float>(row), data_or_null<float>(column),
                                    out.weight.data_ptr(), floats(out.row), floats(parts), floats(out.column), n, d},
                                   stream);
  });
  return out;
}

}  // namespace scalevec::models::ops::device
