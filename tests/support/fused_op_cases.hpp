#pragma once

#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <functional>
#include <string>
#include <vector>

#include "models/initial_value.hpp"
#include "models/ops/attention.hpp"
#include "models/ops/fused.hpp"

// Every fused operator beside what it is composed of.
namespace scalevec::models::op_cases {

using torch::Tensor;
using Inputs = std::vector<Tensor>;

struct Op {
  std::string name;
  std::function<Tensor(const Inputs&)> fused, composed;
  std::vector<std::vector<std::int64_t>> shapes;
  std::size_t constants = 0;  // the last inputs that have no gradient
};

inline std::vector<ops::Scaled> maps_of(const Inputs& in) {
  return {{in[1], in[2], in[3], {}}, {in[4], {}, in[5], in[6], 1e-3}, {in[7], in[8], {}, {}}};
}

// The sum and its norm, one behind the other, so that both have a gradient.
template <class NormOfSum>
Tensor both(const NormOfSum& n) {
  return at::cat({n.sum, n.normed}, -1);
}

inline ops::NormOfSum composed_norm_of_sum(const Tensor& x, const Tensor& y, const Tensor& gamma, double eps) {
  return {x + y, ops::composed::rms_norm(x + y, gamma, eps)};
}

inline Tensor composed_norm_rotate(const Tensor& x, const Tensor& gamma, const Tensor& cos, const Tensor& sin,
                                   bool per_head, double eps) {
  const Tensor flat = per_head ? x : x.flatten(2);
  return ops::composed::rotate(ops::composed::rms_norm(flat, gamma, eps).view_as(x), cos, sin);
}

// maps_of, with the second map's norm taken outside.
inline Tensor composed_maps(const Inputs& in) {
  std::vector<ops::Scaled> maps = maps_of(in);
  maps[1].output_norm.reset();
  std::vector<Tensor> out = ops::composed::scaled_linear(in[0], maps);
  out[1] = ops::composed::rms_norm(out[1], {}, 1e-3);
  return at::cat(out, -1);
}

inline Tensor targets_of(const Tensor& logits) {
  return torch::arange(logits.size(0), torch::dtype(torch::kInt64).device(logits.device()))
      .mul(7)
      .remainder(logits.size(1));
}

inline std::vector<Op> all_ops() {
  const double eps = 1e-3;
  return {
      {"norm",
       [=](const Inputs& i) { return ops::rms_norm(i[0], {}, eps); },
       [=](const Inputs& i) { return ops::composed::rms_norm(i[0], {}, eps); },
       {{3, 67, 10}}},
      {"norm with gamma",
       [=](const Inputs& i) { return ops::rms_norm(i[0], i[1], eps); },
       [=](const Inputs& i) { return ops::composed::rms_norm(i[0], i[1], eps); },
       {{3, 67, 10}, {10}}},
      {"swiglu",
       [](const Inputs& i) { return ops::swiglu(i[0], i[1]); },
       [](const Inputs& i) { return ops::composed::swiglu(i[0], i[1]); },
       {{5, 29, 7}, {5, 29, 7}}},
      {"normed swiglu",
       [=](const Inputs& i) { return ops::normed_swiglu(i[0], i[1], i[2], eps); },
       [=](const Inputs& i) { return ops::composed::normed_swiglu(i[0], i[1], i[2], eps); },
       {{2, 70, 9}, {2, 70, 9}, {9}}},
      {"normed swiglu without gamma",
       [=](const Inputs& i) { return ops::normed_swiglu(i[0], i[1], {}, eps); },
       [=](const Inputs& i) { return ops::composed::normed_swiglu(i[0], i[1], {}, eps); },
       {{2, 70, 9}, {2, 70, 9}}},
      {"norm of a sum",
       [=](const Inputs& i) { return both(ops::rms_norm_of_sum(i[0], i[1], {}, eps)); },
       [=](const Inputs& i) { return both(composed_norm_of_sum(i[0], i[1], {}, eps)); },
       {{3, 67, 10}, {3, 67, 10}}},
      {"norm of a sum with gamma",
       [=](const Inputs& i) { return both(ops::rms_norm_of_sum(i[0], i[1], i[2], eps)); },
       [=](const Inputs& i) { return both(composed_norm_of_sum(i[0], i[1], i[2], eps)); },
       {{3, 67, 10}, {3, 67, 10}, {10}}},
      {"norm of a sum that is not read again",
       [=](const Inputs& i) { return ops::rms_norm_of_sum(i[0], i[1], i[2], eps).normed; },
       [=](const Inputs& i) { return composed_norm_of_sum(i[0], i[1], i[2], eps).normed; },
       {{3, 7, 10}, {3, 7, 10}, {10}}},
      {"sum without its norm",
       [=](const Inputs& i) { return ops::rms_norm_of_sum(i[0], i[1], {}, eps).sum; },
       [](const Inputs& i) { return i[0] + i[1]; },
       {{3, 7, 10}, {3, 7, 10}}},
      {"OR",
       [](const Inputs& i) { return ops::radial(i[0], i[1], false); },
       [](const Inputs& i) { return ops::composed::radial(i[0], i[1], false); },
       {{37}, {1}}},
      {"ER",
       [](const Inputs& i) { return ops::radial(i[0], i[1], true); },
       [](const Inputs& i) { return ops::composed::radial(i[0], i[1], true); },
       {{37}, {1}}},
      {"rotate",
       [](const Inputs& i) { return ops::rotate(i[0], i[1], i[2]); },
       [](const Inputs& i) { return ops::composed::rotate(i[0], i[1], i[2]); },
       {{2, 13, 3, 6}, {13, 3}, {13, 3}},
       2},
      {"norm over all heads, rotated",
       [=](const Inputs& i) { return ops::norm_rotate(i[0], i[1], i[2], i[3], false, eps); },
       [=](const Inputs& i) { return composed_norm_rotate(i[0], i[1], i[2], i[3], false, eps); },
       {{2, 43, 3, 6}, {18}, {43, 3}, {43, 3}},
       2},
      {"norm over each head, rotated",
       [=](const Inputs& i) { return ops::norm_rotate(i[0], i[1], i[2], i[3], true, eps); },
       [=](const Inputs& i) { return composed_norm_rotate(i[0], i[1], i[2], i[3], true, eps); },
       {{2, 13, 3, 6}, {6}, {13, 3}, {13, 3}},
       2},
      {"norm without gamma, rotated",
       [=](const Inputs& i) { return ops::norm_rotate(i[0], {}, i[1], i[2], false, eps); },
       [=](const Inputs& i) { return composed_norm_rotate(i[0], {}, i[1], i[2], false, eps); },
       {{2, 13, 3, 6}, {13, 3}, {13, 3}},
       2},
      {"scaled linear",
       [](const Inputs& i) { return at::cat(ops::scaled_linear(i[0], maps_of(i)), -1); },
       composed_maps,
       {{4, 21, 9}, {70, 9}, {70}, {9}, {5, 9}, {9}, {5}, {3, 9}, {3}}},
      {"attention",
       [](const Inputs& i) { return ops::attention(i[0], i[1], i[2], 0.3, 0); },
       [](const Inputs& i) { return ops::composed::attention(i[0], i[1], i[2], 0.3, 0); },
       {{2, 75, 3, 16}, {2, 75, 3, 16}, {2, 75, 3, 16}}},
      {"attention with a window and grouped heads",
       [](const Inputs& i) { return ops::attention(i[0], i[1], i[2], 0.3, 40); },
       [](const Inputs& i) { return ops::composed::attention(i[0], i[1], i[2], 0.3, 40); },
       {{1, 130, 4, 48}, {1, 130, 2, 48}, {1, 130, 2, 48}}},
      {"cross entropy",
       [](const Inputs& i) { return ops::cross_entropy(i[0], targets_of(i[0])); },
       [](const Inputs& i) { return ops::composed::cross_entropy(i[0], targets_of(i[0])); },
       {{70, 33}}},
      {"one plain linear",
       [](const Inputs& i) {
         return ops::scaled_linear(i[0], {{i[1], {}, {}, {}}})[0];
       },
       [](const Inputs& i) {
         return ops::composed::scaled_linear(i[0], {{i[1], {}, {}, {}}})[0];
       },
       {{11, 9}, {5, 9}}},
  };
}

inline Inputs inputs_of(const Op& op, torch::Dtype dtype) {
  Inputs inputs;
  for (std::size_t i = 0; i < op.shapes.size(); ++i)
    inputs.push_back(normal_values(op.shapes[i], 1.0, 5, op.name + std::to_string(i), dtype)
                         .requires_grad_(i + op.constants < op.shapes.size()));
  return inputs;
}

struct Result {
  Tensor value;
  Inputs grads;
};

inline Result run(const std::function<Tensor(const Inputs&)>& op, const Inputs& inputs, std::size_t constants) {
  Result result;
  result.value = op(inputs);
  const Tensor weight =
      normal_values(result.value.sizes(), 1.0, 6, "weight", result.value.scalar_type()).to(result.value.device());
  const Inputs differentiable(inputs.begin(), inputs.end() - static_cast<std::ptrdiff_t>(constants));
  result.grads = torch::autograd::grad({(result.value * weight).sum()}, differentiable);
  return result;
}

}  // namespace scalevec::models::op_cases
