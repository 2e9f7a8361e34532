#pragma once

#include <cstdint>

// Causal softmax attention of one head, in blocks of queries that fit the cache. No LibTorch: raw pointers. Compiled
// for several instruction sets; the best one of the machine is used at run time.
namespace scalevec::models::kernels {

// Rows of `dim` contiguous elements, one per position, `stride` elements apart.
template <class T>
struct HeadRows {
  T* data = nullptr;
  std::int64_t stride = 0;

  T* operator[](std::int64_t row) const { return data + row * stride; }
};

// One head: q, k, v are [length, dim].
template <class T>
struct AttentionHead {
  HeadRows<const T> q, k, v;
  std::int64_t length = 0;  // positions
  std::int64_t dim = 0;     // a multiple of kAttentionDim
  std::int64_t window = 0;  // positions a query attends to, including its own; 0: all before it
  T scale = 1;              // scores are scale·q·k; more than 0
};

// dim must be a multiple of this.
inline constexpr std::int64_t kAttentionDim = 16;

template <class T>
struct AttentionKernels {
  // Number of elements of `scratch` below, which must be aligned to 64 bytes.
  std::int64_t (*scratch_size)(std::int64_t length, std::int64_t dim);

  // out_i = Σ_j p_ij v_j [length, dim] and lse_i = log Σ_j exp(scale·q_i·k_j) [length], over the positions j that i
  // attends to, with p_ij = exp(scale·q_i·k_j − lse_i). `max_logit`, unless null, is set to the largest scale·q_i·k_j.
  void (*forward)(const AttentionHead<T>& head, HeadRows<T> out, T* lse, T* max_logit, T* scratch);

  // The gradients [length, dim] from out, lse and grad = ∂L/∂out. Writes dq; adds to dk and dv.
  void (*backward)(const AttentionHead<T>& head, HeadRows<const T> out, HeadRows<const T> grad, const T* lse,
                   HeadRows<T> dq, HeadRows<T> dk, HeadRows<T> dv, T* scratch);
};

struct AttentionTable {
  AttentionKernels<float> f32;
  AttentionKernels<double> f64;
};

// The kernels for the best instruction set of the machine.
const AttentionTable& attention_table();

template <class T>
const AttentionKernels<T>& attention_kernels() {
  if constexpr (sizeof(T) == 4)
    return attention_table().f32;
  else
    return attention_table().f64;
}

}  // namespace scalevec::models::kernels
