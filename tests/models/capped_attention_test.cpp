#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "models/autocast.hpp"
#include "models/initial_value.hpp"
#include "models/ops/attention.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tensor_gap.hpp"

namespace {

using namespace scalevec;
using namespace scalevec::models;
using torch::Tensor;

struct CappedCase {
  std::int64_t batch, length, kv_heads, group, dim, window;
  double scale, cap;
};

// The formula over all pairs of positions at once, by LibTorch's autograd.
Tensor all_pairs(const CappedCase& c, const Tensor& q, const Tensor& k, const Tensor& v) {
  const auto heads = [&](const Tensor& x) { return x.repeat_interleave(c.group, 2).transpose(1, 2); };
  const Tensor logits = at::matmul(q.transpose(1, 2), heads(k).transpose(-1, -2)) * c.scale;
  const Tensor position = torch::arange(c.length), off = position.unsqueeze(1) - position;
  Tensor hidden = off < 0;
  if (c.window > 0) hidden = hidden.logical_or(off >= c.window);
  const Tensor scores = (c.cap * at::tanh(logits / c.cap)).masked_fill(hidden, -INFINITY);
  return at::matmul(at::softmax(scores, -1), heads(v)).transpose(1, 2);
}

std::vector<Tensor> qkv(const CappedCase& c, torch::ScalarType type) {
  std::vector<Tensor> out;
  for (const char* name : {"q", "k", "v"})
    out.push_back(normal_values({c.batch, c.length, c.kv_heads * (*name == 'q' ? c.group : 1), c.dim}, 2.0, 5, name)
                      .to(type)
                      .requires_grad_());
  return out;
}

// y, then the gradients of Σ y·(fixed numbers).
template <class F>
std::vector<Tensor> with_gradients(const F& f, const std::vector<Tensor>& in) {
  const Tensor y = f(in[0], in[1], in[2]);
  const Tensor by = normal_values(y.sizes(), 1.0, 6, "by").to(y.scalar_type());
  std::vector<Tensor> out = torch::autograd::grad({(y * by).sum()}, {in[0], in[1], in[2]});
  out.insert(out.begin(), y.detach());
  return out;
}

std::vector<CappedCase> capped_cases() {
  std::mt19937_64 random(3);
  const auto any = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  std::vector<CappedCase> out;
  for (const std::int64_t length : {1, 2, 31, 255, 256, 257, 513})
    for (int i = 0; i < 4; ++i)
      out.push_back({any(1, 2), length, any(1, 3), any(1, 3), any(1, 9), i == 0 ? 0 : any(1, length + 5),
                     std::exp(static_cast<double>(any(-4, 1))), std::exp(static_cast<double>(any(-2, 5)))});
  return out;
}

}  // namespace

TEST_CASE("capped attention and its gradients are the formula's, at the ends of blocks and windows") {
  for (const CappedCase& c : capped_cases()) {
    INFO("T " << c.length << ", window " << c.window << ", " << c.kv_heads << " x " << c.group << " heads of " << c.dim
              << ", cap " << c.cap);
    const auto ours = [&](const Tensor& q, const Tensor& k, const Tensor& v) {
      return ops::capped_attention(q, k, v, c.scale, c.cap, c.window);
    };
    const auto formula = [&](const Tensor& q, const Tensor& k, const Tensor& v) { return all_pairs(c, q, k, v); };
    const auto exact = qkv(c, torch::kFloat64), single = qkv(c, torch::kFloat32);
    const auto want = with_gradients(formula, exact), got = with_gradients(ours, exact),
               rounded = with_gradients(ours, single);
    // A position that sees only itself gives q and k no gradient.
    const bool alone = c.length == 1 || c.window == 1;
    for (std::size_t i = 0; i < 4; ++i) {
      INFO("y, dq, dk, dv: " << i);
      if (alone && (i == 1 || i == 2)) {
        CHECK(got[i].abs().max().item<double>() <= 1e-13);
        continue;
      }
      CHECK(gap(got[i].to(torch::kFloat64), want[i]) <= 1e-12);
      CHECK(gap(rounded[i].to(torch::kFloat64), want[i]) <= 2e-5);
    }
  }
}

TEST_CASE("capped attention under autocast has products of bfloat16 and the rest in float32") {
  const CappedCase c{2, 300, 2, 2, 16, 100, 0.25, 20.0};
  std::vector<Tensor> in = qkv(c, torch::kFloat32), rounded;
  for (const Tensor& x : in) rounded.push_back(x.detach().to(torch::kBFloat16).to(torch::kFloat64).requires_grad_());
  const auto want =
      with_gradients([&](const Tensor& q, const Tensor& k, const Tensor& v) { return all_pairs(c, q, k, v); }, rounded);
  const auto got = with_gradients(
      [&](const Tensor& q, const Tensor& k, const Tensor& v) {
        const Autocast autocast(torch::kCPU, torch::kBFloat16);
        return ops::capped_attention(q, k, v, c.scale, c.cap, c.window);
      },
      in);
  CHECK(got[0].scalar_type() == torch::kBFloat16);
  // Numbers near 1 lie 2⁻⁷ apart; a logit of up to 10 is rounded by half of 2⁻⁴.
  for (std::size_t i = 0; i < 4; ++i) CHECK(gap(got[i].to(torch::kFloat64), want[i]) <= 0x1p-5);
}
