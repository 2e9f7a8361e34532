#pragma once

#include <torch/types.h>

#include <optional>
#include <vector>

namespace scalevec::ops {

// Operators of one pass over memory in each direction, for float32 and float64 on the CPU; `composed` of other dtypes
// and on other devices, where LibTorch's fused norm is taken on CUDA. They save less for their backward than what they
// are composed of (said with each), whose sums, LibTorch's products aside, are taken in a fixed order: the same bits
// for any number of threads. Under autocast, products are taken in its type and everything else in float32. Gradients
// of gradients are refused with a std::logic_error, except in the composed form.
bool takes_kernels(const torch::Tensor& x);

// γ ⊙ x/√(mean x² + eps) over the last dimension d; gamma [d] or undefined. Saves x with γ and its own output without,
// so nothing where a linear map reads that, and one number per row.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& gamma, double eps);

struct NormOfSum {
  torch::Tensor sum, normed;
};
// x + added, of the same shape, and its rms_norm; the gradients of both meet in the norm's backward.
NormOfSum rms_norm_of_sum(const torch::Tensor& x, const torch::Tensor& added, const torch::Tensor& gamma, double eps);

// m·√d α/‖α‖: alpha [d], magnitude [1]; m = magnitude or, with `exponential`, e^magnitude. OR and ER (T8).
torch::Tensor radial(const torch::Tensor& alpha, const torch::Tensor& magnitude, bool exponential);

// silu(gate) ⊙ up, of the same shape [.., h]. Saves gate and up.
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);
// silu(γ ⊙ Norm(gate)) ⊙ Norm(up), Norm as in rms_norm without γ; gamma [h] or undefined. Saves gate, up and two
// numbers per row.
torch::Tensor normed_swiglu(const torch::Tensor& gate, const torch::Tensor& up, const torch::Tensor& gamma, double eps);

// RoPE in the half-split layout: x [B, T, H, d], cos and sin [T, d/2]. Saves nothing.
torch::Tensor rotate(const torch::Tensor& x, const torch::Tensor& cos, const torch::Tensor& sin);
// The same of γ ⊙ Norm(x), Norm over each head's d elements with gamma [d], or over all H·d of a token with gamma
// [H·d]; gamma may be undefined. Saves x and one number per norm.
torch::Tensor norm_rotate(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& cos,
                          const torch::Tensor& sin, bool per_head, double eps);

// W' = diag(row) W diag(column) of one map: weight [out, in]; row [out], column [in], bias [out], each may be
// undefined.
struct Scaled {
  torch::Tensor weight, row, column, bias;
  std::optional<double> output_norm = {};  // eps of a norm without γ behind it, taken in the product's own memory
};

// x [.., in] through every map's W', [.., out] each. Saves x alone, once, and the output of a norm: the backward forms
// W' again. The gradient of x is accumulated in one buffer.
std::vector<torch::Tensor> scaled_linear(const torch::Tensor& x, const std::vector<Scaled>& maps);

// Mean over rows of log Σ_j exp(logits_j) − logits_target: logits [n, d], target int64 [n] in [0, d), n ≥ 1. Saves
// logits, target and one number per row: the log-softmax of all rows is never held. Throws std::invalid_argument for a
// target out of range.
torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& target);

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

// LibTorch's own fused norm, which is one kernel on CUDA and composed on a CPU.
namespace library {
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& gamma, double eps);
}  // namespace library

}  // namespace scalevec::ops
