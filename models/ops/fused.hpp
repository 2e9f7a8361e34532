#pragma once

#include <torch/types.h>

#include <optional>
#include <vector>

namespace scalevec::models::ops {

// Fused operators: one pass over memory in each direction, for float32 and float64 on the CPU and for float32 and
// bfloat16 on CUDA devices. For other dtypes and devices they call `composed`. They save less for the backward pass
// than the composed form; each comment says what. Apart from LibTorch's matrix products, sums are taken in a fixed
// order, so the bits do not depend on the number of threads. Under autocast, products are computed in its type and
// everything else in float32. On a CUDA device, results then have the type of the activations they are made from, and
// nothing waits for the device. Gradients of gradients throw std::logic_error, except in the composed form. This
// function tells whether x is handled by the fused kernels of the CPU.
bool takes_kernels(const torch::Tensor& x);

// Who reads a result. For matrix products alone, a CUDA device writes it in their type, so that none has to convert it.
enum class Reader { any, products };

// γ ⊙ x/√(mean x² + eps) over the last dimension d (arXiv 1910.07467); gamma [d] or undefined. Saves one number per
// row, and x if there is a γ. Without γ it saves its own output, which costs no memory if a linear map saves it anyway.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& gamma, double eps, Reader reader = Reader::any);

struct NormOfSum {
  torch::Tensor sum, normed;
};
// x + added (both of the same shape), and the rms_norm of the sum. The gradients of both results are combined in the
// backward pass of the norm. `reader` is of the norm.
NormOfSum rms_norm_of_sum(const torch::Tensor& x, const torch::Tensor& added, const torch::Tensor& gamma, double eps,
                          Reader reader = Reader::any);

// m·√d α/‖α‖ with alpha [d], magnitude [1], and m = magnitude or, with `exponential`, e^magnitude. These are OR and ER
// (T8 in docs/theory.md).
torch::Tensor radial(const torch::Tensor& alpha, const torch::Tensor& magnitude, bool exponential);

// silu(gate) ⊙ up (SwiGLU, arXiv 2002.05202); gate and up [.., h]. Saves gate and up.
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);
// silu(γ ⊙ Norm(gate)) ⊙ Norm(up), with Norm as in rms_norm without γ; gamma [h] or undefined. Saves gate, up and two
// numbers per row.
torch::Tensor normed_swiglu(const torch::Tensor& gate, const torch::Tensor& up, const torch::Tensor& gamma, double eps);

// RoPE in the half-split layout (arXiv 2104.09864): x [B, T, H, d], cos and sin [T, d/2]. Saves nothing.
torch::Tensor rotate(const torch::Tensor& x, const torch::Tensor& cos, const torch::Tensor& sin);
// The same for γ ⊙ Norm(x). With `per_head` the norm is over the d elements of each head, with gamma [d]; else over all
// H·d elements of a token, with gamma [H·d]. gamma may be undefined. Saves x and one number per norm.
torch::Tensor norm_rotate(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& cos,
                          const torch::Tensor& sin, bool per_head, double eps);

// The matrix W' = diag(row) W diag(column) of one map. weight [out, in]; row [out], column [in] and bias [out] may each
// be undefined.
struct Scaled {
  torch::Tensor weight, row, column, bias;
  std::optional<double> output_norm = {};  // eps of a norm without γ behind the map, computed in place
};

// Applies W' of every map to x [.., in]; each result is [.., out]. Saves x, once for all maps, and the output of a
// norm; the backward pass computes W' again, but for on a device under autocast, which keeps it. The gradient of x is
// accumulated in one buffer.
std::vector<torch::Tensor> scaled_linear(const torch::Tensor& x, const std::vector<Scaled>& maps);

// Mean over rows of log Σ_j exp(logits_j) − logits_target, in nats: logits [n, d], target int64 [n] in [0, d), n ≥ 1.
// Saves logits, target and one number per row; the log-softmax of all rows is never stored. The loss of logits in
// bfloat16 is in float32. Throws std::invalid_argument for a target out of range; on a CUDA device, which would have to
// be waited for, the loss and the row's gradient are NaN. With `overwrite`, a CUDA device may write the gradient of
// logits into their memory: nothing may read them afterwards, and a second backward pass throws.
torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& target, bool overwrite = false);

// The same functions, composed of LibTorch's operators.
namespace composed {
torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& target);
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& gamma, double eps);
torch::Tensor radial(const torch::Tensor& alpha, const torch::Tensor& magnitude, bool exponential);
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);
torch::Tensor normed_swiglu(const torch::Tensor& gate, const torch::Tensor& up, const torch::Tensor& gamma, double eps);
torch::Tensor rotate(const torch::Tensor& x, const torch::Tensor& cos, const torch::Tensor& sin);
torch::Tensor norm_rotate(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& cos,
                          const torch::Tensor& sin, bool per_head, double eps);
std::vector<torch::Tensor> scaled_linear(const torch::Tensor& x, const std::vector<Scaled>& maps);
}  // namespace composed

}  // namespace scalevec::models::ops
