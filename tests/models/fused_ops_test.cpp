#include <ATen/Parallel.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <string>
#include <vector>

#include "models/autocast.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fused_op_cases.hpp"
#include "tests/support/tensor_gap.hpp"

using torch::Tensor;
using namespace scalevec;
using namespace scalevec::models;
using namespace scalevec::models::op_cases;

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
