#include <ATen/Parallel.h>
#include <torch/autograd.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "models/autocast.hpp"
#include "models/initial_value.hpp"
#include "models/ops/attention.hpp"
#include "models/ops/fused.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tensor_gap.hpp"

namespace {

using torch::Tensor;
using namespace scalevec;
using namespace scalevec::models;
using Inputs = std::vector<Tensor>;

struct Op {
  std::string name;
  std::function<Tensor(const Inputs&)> fused, composed;
  std::vector<std::vector<std::int64_t>> shapes;
  std::size_t constants = 0;  // the last inputs that have no gradient
};

std::vector<ops::Scaled> maps_of(const Inputs& in) {
  return {{in[1], in[2], in[3], {}}, {in[4], {}, in[5], in[6], 1e-3}, {in[7], in[8], {}, {}}};
}

// The sum and its norm, one behind the other, so that both have a gradient.
template <class NormOfSum>
Tensor both(const NormOfSum& n) {
  return at::cat({n.sum, n.normed}, -1);
}

ops::NormOfSum composed_norm_of_sum(const Tensor& x, const Tensor& y, const Tensor& gamma, double eps) {
  return {x + y, ops::composed::rms_norm(x + y, gamma, eps)};
}

Tensor composed_norm_rotate(const Tensor& x, const Tensor& gamma, const Tensor& cos, const Tensor& sin, bool per_head,
                            double eps) {
  const Tensor flat = per_head ? x : x.flatten(2);
  return ops::composed::rotate(ops::composed::rms_norm(flat, gamma, eps).view_as(x), cos, sin);
}

// maps_of, with the second map's norm taken outside.
Tensor composed_maps(const Inputs& in) {
  std::vector<ops::Scaled> maps = maps_of(in);
  maps[1].output_norm.reset();
  std::vector<Tensor> out = ops::composed::scaled_linear(in[0], maps);
  out[1] = ops::composed::rms_norm(out[1], {}, 1e-3);
  return at::cat(out, -1);
}

Tensor targets_of(const Tensor& logits) {
  return torch::arange(logits.size(0), torch::kInt64).mul(7).remainder(logits.size(1));
}

std::vector<Op> all_ops() {
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

Inputs inputs_of(const Op& op, torch::Dtype dtype) {
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

Result run(const std::function<Tensor(const Inputs&)>& op, const Inputs& inputs, std::size_t constants) {
  Result result;
  result.value = op(inputs);
  const Tensor weight =
      normal_values(result.value.sizes(), 1.0, 6, "weight", result.value.scalar_type()).to(result.value.device());
  const Inputs differentiable(inputs.begin(), inputs.end() - static_cast<std::ptrdiff_t>(constants));
  result.grads = torch::autograd::grad({(result.value * weight).sum()}, differentiable);
  return result;
}

}  // namespace

TEST_CASE("fused operators have the composed ones' values and gradients", "[ops]") {
  for (const Op& op : all_ops())
    for (const auto& [dtype, tolerance] : {std::pair(torch::kFloat64, 1e-13), std::pair(torch::kFloat32, 5e-6)}) {
      INFO(op.name << (dtype == torch::kFloat64 ? ", float64" : ", float32"));
      const Inputs inputs = inputs_of(op, dtype);
      REQUIRE(ops::takes_kernels(inputs[0]));
      const Result fused = run(op.fused, inputs, op.constants), composed = run(op.composed, inputs, op.constants);
      CHECK(gap(fused.value, composed.value) <= tolerance);
      for (std::size_t i = 0; i < fused.grads.size(); ++i) {
        INFO("input " << i);
        CHECK(gap(fused.grads[i], composed.grads[i]) <= tolerance);
      }
    }
}

TEST_CASE("gradients of fused operators agree with central differences", "[ops]") {
  for (const Op& op : all_ops()) {
    INFO(op.name);
    const Inputs inputs = inputs_of(op, torch::kFloat64);
    const Result analytic = run(op.fused, inputs, op.constants);
    const torch::NoGradGuard no_grad;
    const Tensor weight = normal_values(analytic.value.sizes(), 1.0, 6, "weight", torch::kFloat64);
    for (std::size_t i = 0; i < analytic.grads.size(); ++i) {
      INFO("input " << i);
      const Tensor direction = normal_values(inputs[i].sizes(), 1.0, 8, op.name + std::to_string(i), torch::kFloat64);
      const auto at = [&](double by) {
        Inputs moved = inputs;
        moved[i] = inputs[i] + direction * by;
        return (op.fused(moved) * weight).sum().item<double>();
      };
      const double step = 1e-5, slope = (at(step) - at(-step)) / (2.0 * step);
      const double expected = (analytic.grads[i] * direction).sum().item<double>();
      CHECK(std::abs(slope - expected) <= 1e-7 * (analytic.grads[i].norm() * direction.norm()).item<double>());
    }
  }
}

TEST_CASE("fused operators take views and give the same bits for any number of threads", "[ops]") {
  const int threads = at::get_num_threads();
  for (const Op& op : all_ops()) {
    INFO(op.name);
    Inputs inputs = inputs_of(op, torch::kFloat32);
    const Result one = run(op.fused, inputs, op.constants);
    // The same values as a slice of something wider.
    const std::int64_t width = inputs[0].size(-1);
    Inputs views = inputs;
    if (inputs[0].dim() == 1) continue;  // a parameter is no slice
    views[0] = at::cat({inputs[0].detach(), inputs[0].detach() + 1}, -1).narrow(-1, 0, width).requires_grad_();
    REQUIRE(!views[0].is_contiguous());
    for (const int count : {1, 3}) {
      at::set_num_threads(count);
      const Result other = run(op.fused, views, op.constants);
      // The products are LibTorch's, whose order of summation is its own.
      const double tolerance = op.name.ends_with("linear") ? 1e-6 : 0.0;
      CHECK(gap(other.value, one.value) <= tolerance);
      for (std::size_t i = 0; i < one.grads.size(); ++i) CHECK(gap(other.grads[i], one.grads[i]) <= tolerance);
    }
    at::set_num_threads(threads);
  }
}

TEST_CASE("silu is right to the last bits over its whole range, and NaN stays NaN", "[ops]") {
  const Tensor x = torch::linspace(-100, 100, 20001).to(torch::kFloat64);
  const Tensor expected = x / (1 + (-x).exp());
  const Tensor got = ops::swiglu(x.to(torch::kFloat32).unsqueeze(0), torch::ones({1, 20001})).to(torch::kFloat64)[0];
  // float32 has a unit roundoff of 6e-8; below −87 the result is smaller than its smallest normal number.
  CHECK(((got - expected).abs() <= 4e-7 * expected.abs() + 1e-36).all().item<bool>());
  CHECK(ops::swiglu(torch::full({1, 4}, NAN), torch::ones({1, 4})).isnan().all().item<bool>());
}

TEST_CASE("empty inputs, and gradients of gradients", "[ops]") {
  CHECK(ops::rms_norm(torch::zeros({0, 5}), torch::ones({5}), 1e-5).sizes() == at::IntArrayRef({0, 5}));
  for (const std::int64_t id : {-1, 5})
    CHECK_THROWS_AS(ops::cross_entropy(torch::zeros({1, 5}), torch::full({1}, id, torch::kInt64)),
                    std::invalid_argument);
  const Tensor x = torch::ones({2, 4}, torch::requires_grad());
  const Tensor y = ops::rms_norm(x, {}, 1e-5).sum();
  CHECK_THROWS_AS(torch::autograd::grad({y}, {x}, {}, true, /*create_graph=*/true), std::logic_error);
}

TEST_CASE("attention takes and gives bfloat16 where its neighbours have it, and computes in float32", "[ops]") {
  Inputs exact, rounded;
  for (const char* name : {"q", "k", "v"}) {
    const Tensor bf16 = normal_values({2, 40, 2, 16}, 1.0, 5, name).to(torch::kBFloat16);
    rounded.push_back(bf16.clone().requires_grad_());
    exact.push_back(bf16.to(torch::kFloat32).requires_grad_());
  }
  const Tensor y = ops::composed::attention(exact[0], exact[1], exact[2], 0.25, 0),
               weight = normal_values(y.sizes(), 1.0, 6, "weight");
  const std::vector<Tensor> grads = torch::autograd::grad({(y * weight).sum()}, exact);
  const Autocast autocast(torch::kCPU, torch::kBFloat16);
  const Tensor z = ops::attention(rounded[0], rounded[1], rounded[2], 0.25, 0);
  CHECK(z.scalar_type() == torch::kBFloat16);
  CHECK(gap(z, y) <= 1.0 / 256.0);  // one rounding of the result
  const std::vector<Tensor> got = torch::autograd::grad({(z.to(torch::kFloat32) * weight).sum()}, rounded);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(got[i].scalar_type() == torch::kBFloat16);
    CHECK(gap(got[i], grads[i]) <= 4.0 / 256.0);  // of the incoming gradient, of the result, and in the sums
  }
}

TEST_CASE("LibTorch's fused norm, which CUDA takes, is the composed one", "[ops]") {
  // On a CPU it is composed too: this tests the call, and with a GPU the kernel.
  const bool cuda = torch::cuda::is_available();
  if (!cuda) WARN("no CUDA device: LibTorch's fused norm is tested on the CPU only");
  for (const bool with_gamma : {false, true})
    for (const torch::Device device : {torch::Device(torch::kCPU), torch::Device(torch::kCUDA)}) {
      if (device.is_cuda() && !cuda) continue;
      Inputs inputs{normal_values({3, 17, 40}, 1.0, 5, "x").to(device).requires_grad_()};
      if (with_gamma) inputs.push_back(normal_values({40}, 1.0, 5, "gamma").to(device).requires_grad_());
      const auto norm = [&](auto&& op) {
        return [&](const Inputs& i) { return op(i[0], i.size() > 1 ? i[1] : Tensor(), 1e-3); };
      };
      const Result fused = run(norm(ops::library::rms_norm), inputs, 0),
                   composed = run(norm(ops::composed::rms_norm), inputs, 0);
      CHECK(gap(fused.value, composed.value) <= 5e-6);
      for (std::size_t i = 0; i < inputs.size(); ++i) CHECK(gap(fused.grads[i], composed.grads[i]) <= 5e-6);
      if (device.is_cuda()) CHECK(gap(run(norm(ops::rms_norm), inputs, 0).value, fused.value) == 0.0);
    }
}

TEST_CASE("under autocast, products are rounded to bfloat16 and the rest is not", "[ops]") {
  const double ulp = 1.0 / 256.0;  // of bfloat16, whose significand has 8 bits
  for (const Op& op : all_ops()) {
    INFO(op.name);
    const Inputs inputs = inputs_of(op, torch::kFloat32);
    const Result exact = run(op.composed, inputs, op.constants);
    Result rounded;
    {
      const Autocast autocast(torch::kCPU, torch::kBFloat16);
      rounded.value = op.fused(inputs);
    }
    // Attention computes in float32 and answers in its inputs' type.
    const bool product = op.name.ends_with("linear");
    CHECK((rounded.value.scalar_type() == torch::kBFloat16) == (op.name == "one plain linear"));
    const Tensor weight = normal_values(exact.value.sizes(), 1.0, 6, "weight");
    const Inputs differentiable(inputs.begin(), inputs.end() - static_cast<std::ptrdiff_t>(op.constants));
    rounded.grads = torch::autograd::grad({(rounded.value * weight).sum()}, differentiable);
    CHECK(gap(rounded.value, exact.value) <= (product ? 2 * ulp : 5e-6));
    for (std::size_t i = 0; i < exact.grads.size(); ++i) {
      INFO("input " << i);
      CHECK(rounded.grads[i].scalar_type() == torch::kFloat32);
      CHECK(gap(rounded.grads[i], exact.grads[i]) <= (product ? 8 * ulp : 5e-6));
    }
  }
}
