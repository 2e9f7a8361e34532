#pragma once

#include <c10/util/ArrayRef.h>
#include <torch/types.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "optim/core/param_role.hpp"
#include "optim/method_options.hpp"

// The option qk_clip: which maps make the queries and keys of a layer, and what their rows are multiplied by (Kimi K2,
// arXiv 2507.20534, section 2.1). Not installed.
namespace scalevec {

// A parameter with its role and the options of its rule or group.
struct QkCandidate {
  std::string_view name;
  const ParamRole* role;
  c10::IntArrayRef sizes;
  const MethodOptions* options;
};

// The map to the queries and the map to the keys of one layer with qk_clip, and their biases, by place in the list.
struct QkMaps {
  int layer = -1;
  size_t q = 0, k = 0;
  std::vector<size_t> q_biases, k_biases;
  double threshold = 0.0;  // τ
  std::int64_t heads = 0, kv_heads = 0;
};

// All layers whose maps have qk_clip, in their order. Throws std::invalid_argument, naming the parameter, if only other
// parameters than maps to queries and keys (roles with the sites attn.q and attn.k) have it, if the two of a layer
// differ in it, and if their roles do not say what a head is.
std::vector<QkMaps> find_qk_maps(std::span<const QkCandidate> params);

// What the rows of each query head [heads] are multiplied by, from the float64 logits S_h of each, on their device and
// without a wait. With γ_h = min(1, τ/S_h): √γ_h, and the same for its keys; where several query heads share a key
// head, γ_h for the queries and 1 for the keys, as the paper does with a part of the keys that heads share. An S_h that
// is not finite counts as no more than τ.
torch::Tensor qk_factors(const torch::Tensor& max_logits, std::int64_t kv_heads, double threshold);

}  // namespace scalevec
