#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/kernels/cuda/row_launches.hpp"

// The fused operators on a CUDA device: functions of ops of the same names, without their checks of where x is. They
// take activations in float32 and bfloat16, and scale vectors in either; all arithmetic is in float32. Nothing asks for
// a value. On meta tensors, which have none, they do all but launch. Not installed.
namespace scalevec::models::ops::device {

// Whether x goes here: float32 or bfloat16, and on a CUDA device of a build that has the kernels, or on meta.
bool takes(const torch::Tensor& x);

// While it lives, tensors on the CPU are taken too, and `launches` is called in place of the kernels. For tests, on one
// thread.
class Emulated {
 public:
  explicit Emulated(const kernels::cuda::RowLaunches& launches);
  ~Emulated();
  Emulated(const Emulated&) = delete;
  Emulated& operator=(const Emulated&) = delete;
};

// The type that autocast takes products in on x's device; x's own where autocast is off.
torch::ScalarType product_type(const torch::Tensor& x);
bool in_autocast(const torch::Tensor& x);
// Ten times the compute capability of x's CUDA device: 90 for 9.0.
int compute_capability(const torch::Tensor& x);

// Calls body(launches, stream) on x's device and its current stream; not on meta.
void enqueue(const torch::Tensor& x,
             c10::function_ref<void(const kernels::cuda::RowLaunches&, kernels::cuda::Stream)> body);

torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& gamma, double eps, torch::ScalarType out);
// {sum, norm of it}.
std::pair<torch::Tensor, torch::Tensor> rms_norm_of_sum(const torch::Tensor& x, const torch::Tensor& added,
                                                        const torch::Tensor& gamma, double eps, torch::ScalarType out);
torch::Tensor radial(const torch::Tensor& alpha, const torch::Tensor& magnitude, bool exponential);
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);
torch::Tensor normed_swiglu(const torch::Tensor& gate, const torch::Tensor& up, const torch::Tensor& gamma, double eps);
torch::Tensor rotate(const torch::Tensor& x, const torch::Tensor& cos, const torch::Tensor& sin);
torch::Tensor norm_rotate(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& cos,
                          const torch::Tensor& sin, bool per_head, double eps);
torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& target, bool overwrite);

// What scaled_linear() is made of. W' = diag(row) W diag(column) in type `out`; row and column in float32 or undefined.
torch::Tensor scaled_matrix(const torch::Tensor& weight, const torch::Tensor& row, const torch::Tensor& column,
                            torch::ScalarType out);
// ∂L/∂W of W's type, ∂L/∂row and ∂L/∂column, from ∂L/∂W'.
struct MatrixGrads {
  torch::Tensor weight, row, column;
};
MatrixGrads scaled_matrix_backward(const torch::Tensor& grad, const torch::Tensor& weight, const torch::Tensor& row,
                                   const torch::Tensor& column);
// y ← y/√(mean y² + eps) by rows, in its own memory; returns 1/√(…) [rows].
torch::Tensor norm_in_place(torch::Tensor& y, double eps);
// From the gradient of that y and y itself: the gradient of what it was, of grad's type.
torch::Tensor norm_in_place_backward(const torch::Tensor& grad, const torch::Tensor& y, const torch::Tensor& rstd);

}  // namespace scalevec::models::ops::device
