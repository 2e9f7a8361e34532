#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "models/autocast.hpp"
#include "models/decoder.hpp"
#include "models/ops/device.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/fused_op_cases.hpp"
#include "tests/support/tensor_gap.hpp"

#if !defined(SCALEVEC_CUDA)
#include "tests/cuda/emulated_rows.hpp"
#endif

// The fused operators as a CUDA device computes them, with their autograd and in a decoder: on the emulated device, in
// a CUDA build on a GPU.
using namespace scalevec;
using namespace scalevec::models;
using namespace scalevec::models::op_cases;

namespace {

#if defined(SCALEVEC_CUDA)
constexpr torch::DeviceType kPlace = torch::kCUDA;
struct OnDevice {};
// CTest shows the whole binary as skipped when it reads this line.
bool skipped() {
  if (torch::cuda::is_available()) return false;
  std::printf("SKIPPED: no CUDA device\n");
  return true;
}
#else
constexpr torch::DeviceType kPlace = torch::kCPU;
struct OnDevice {
  ops::device::Emulated emulated{cuda_test::kEmulatedRows};
};
bool skipped() { return false; }
#endif

// Attention is LibTorch's there.
std::vector<Op> device_ops() {
  std::vector<Op> out;
  for (const Op& op : all_ops())
    if (!op.name.starts_with("attention")) out.push_back(op);
  return out;
}

Inputs placed(const Inputs& inputs) {
  Inputs out;
  for (const Tensor& t : inputs) out.push_back(t.detach().clone().to(kPlace).requires_grad_(t.requires_grad()));
  return out;
}

Inputs exact(const Inputs& inputs) {
  Inputs out;
  for (const Tensor& t : inputs) out.push_back(t.detach().to(torch::kFloat64).requires_grad_(t.requires_grad()));
  return out;
}

double gap_to(const Tensor& got, const Tensor& want) { return gap(got.cpu().to(torch::kFloat64), want); }

}  // namespace

TEST_CASE("fused operators on the device are the composed ones in double precision") {
  if (skipped()) return;
  for (const Op& op : device_ops()) {
    INFO(op.name);
    const Inputs inputs = inputs_of(op, torch::kFloat32);
    const Result want = run(op.composed, exact(inputs), op.constants);
    const OnDevice on;
    REQUIRE(ops::device::takes(placed(inputs)[0]));
    const Result got = run(op.fused, placed(inputs), op.constants);
    CHECK(gap_to(got.value, want.value) <= 5e-6);
    for (std::size_t i = 0; i < got.grads.size(); ++i) {
      INFO("input " << i);
      CHECK(gap_to(got.grads[i], want.grads[i]) <= 5e-6);
    }
    const Result again = run(op.fused, placed(inputs), op.constants);
    CHECK(torch::equal(got.value, again.value));
    for (std::size_t i = 0; i < got.grads.size(); ++i) CHECK(torch::equal(got.grads[i], again.grads[i]));
  }
}

TEST_CASE("activations in bfloat16 and scale vectors in float32, under autocast") {
  if (skipped()) return;
  const double ulp = 1.0 / 256.0;
  for (const Op& op : device_ops()) {
    INFO(op.name);
    Inputs inputs = inputs_of(op, torch::kFloat32);
    const bool product = op.name.ends_with("linear");
    const auto is_activation = [&](std::size_t i) {
      return !product && i + op.constants < inputs.size() && inputs[i].dim() > 1;
    };
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (is_activation(i)) inputs[i] = inputs[i].detach().to(torch::kBFloat16).requires_grad_();
    const Result want = run(op.composed, exact(inputs), op.constants);
    const OnDevice on;
    const Inputs mine = placed(inputs);
    Tensor value;
    {
      const Autocast autocast(kPlace, torch::kBFloat16);
      value = op.fused(mine);
    }
    CHECK(gap_to(value, want.value) <= 3 * ulp);
    const Tensor weight = normal_values(want.value.sizes(), 1.0, 6, "weight").to(kPlace);
    const Inputs differentiable(mine.begin(), mine.end() - static_cast<std::ptrdiff_t>(op.constants));
    const Inputs grads = torch::autograd::grad({(value.to(torch::kFloat32) * weight).sum()}, differentiable);
    for (std::size_t i = 0; i < grads.size(); ++i) {
      INFO("input " << i);
      CHECK(grads[i].scalar_type() == mine[i].scalar_type());
      CHECK(gap_to(grads[i], want.grads[i]) <= 8 * ulp);
    }
  }
}

TEST_CASE("a norm for matrix products has their type, else float32") {
  if (skipped()) return;
  const OnDevice on;
  const Tensor x = torch::randn({5, 16}).to(kPlace), rounded = x.to(torch::kBFloat16);
  const Tensor gamma = torch::randn({16}).to(kPlace);
  CHECK(ops::rms_norm(x, gamma, 1e-5, ops::Reader::products).scalar_type() == torch::kFloat32);
  const Autocast autocast(kPlace, torch::kBFloat16);
  CHECK(ops::rms_norm(x, gamma, 1e-5, ops::Reader::products).scalar_type() == torch::kBFloat16);
  CHECK(ops::rms_norm(rounded, gamma, 1e-5).scalar_type() == torch::kFloat32);
  const ops::NormOfSum both = ops::rms_norm_of_sum(rounded, x, {}, 1e-5, ops::Reader::products);
  CHECK(both.sum.scalar_type() == torch::kFloat32);
  CHECK(both.normed.scalar_type() == torch::kBFloat16);
  CHECK(torch::equal(both.sum, rounded + x));
}

TEST_CASE("the gradient of the loss takes the logits' memory where it may, once") {
  if (skipped()) return;
  const OnDevice on;
  const Tensor leaf = torch::randn({7, 33}).to(kPlace).to(torch::kBFloat16).requires_grad_();
  const Tensor target = targets_of(leaf);
  const Tensor kept = torch::autograd::grad({ops::cross_entropy(leaf * 1, target)}, {leaf})[0];
  const Tensor logits = leaf * 1;
  const Tensor loss = ops::cross_entropy(logits, target, true);
  CHECK(loss.scalar_type() == torch::kFloat32);
  const Tensor grad = torch::autograd::grad({loss}, {logits}, {}, /*retain_graph=*/true)[0];
  CHECK(grad.data_ptr() == logits.data_ptr());
  CHECK(torch::equal(grad, kept));
  CHECK_THROWS(torch::autograd::grad({loss}, {logits}));
  // A target that is not there cannot be told without waiting.
  for (const std::int64_t id : {-1, 33}) {
    const Tensor wrong = target.clone().index_fill_(0, torch::tensor({2}, torch::kInt64).to(kPlace), id);
    const Tensor bad = ops::cross_entropy(leaf, wrong);
    CHECK(std::isnan(bad.item<double>()));
    const Tensor slopes = torch::autograd::grad({bad}, {leaf})[0].isnan().any(1).cpu();
    CHECK(slopes.sum().item<std::int64_t>() == 1);
    CHECK(slopes[2].item<bool>());
  }
}

TEST_CASE("fused operators on a device ask for no value") {
  // On the meta device tensors have none: asking for one throws.
  for (const Op& op : device_ops()) {
    INFO(op.name);
    Inputs inputs;
    for (const Tensor& t : inputs_of(op, torch::kFloat32))
      inputs.push_back(torch::empty_like(t.detach(), torch::kMeta).requires_grad_(t.requires_grad()));
    REQUIRE(ops::device::takes(inputs[0]));
    const Tensor value = op.fused(inputs);
    const Inputs differentiable(inputs.begin(), inputs.end() - static_cast<std::ptrdiff_t>(op.constants));
    const Inputs grads = torch::autograd::grad({value}, differentiable, {torch::empty_like(value)});
    for (std::size_t i = 0; i < grads.size(); ++i) CHECK(grads[i].sizes() == inputs[i].sizes());
  }
}

namespace {

const Tensor& tokens() {
  static const Tensor t = torch::arange(4 * 9, torch::kInt64).mul(5).remainder(16).view({4, 9});
  return t;
}

// Loss and gradients on the device, in float32 and under autocast, against those of the CPU.
void check_decoder(const DecoderOptions& options) {
  Decoder host(options, 1), device(options, 1);
  host.loss(tokens(), 0).backward();
  const double want = host.loss(tokens(), 0).item<double>();
  device.to(kPlace);
  const OnDevice on;
  for (const bool rounds : {false, true}) {
    // Rounding sends a token to another expert where two are close.
    const double tolerance = !rounds ? 2e-5 : options.moe.experts > 0 ? 0.2 : 0.03;
    device.zero_grad();
    Tensor loss;
    {
      const Autocast autocast(kPlace, torch::kBFloat16, rounds);
      loss = device.loss(tokens().to(kPlace), 0);
    }
    loss.backward();
    CHECK(std::abs(loss.item<double>() - want) <= tolerance * want);
    const auto expected = host.named_parameters(), got = device.named_parameters();
    double square = 0.0, off = 0.0;
    for (const auto& p : expected) {
      INFO(p.key());
      REQUIRE(got[p.key()].grad().defined());
      const Tensor g = got[p.key()].grad().cpu();
      CHECK(g.scalar_type() == torch::kFloat32);
      square += p.value().grad().square().sum().item<double>();
      off += (g - p.value().grad()).square().sum().item<double>();
    }
    CHECK(std::sqrt(off / square) <= tolerance);
  }
}

DecoderOptions small_decoder(const char* preset, bool qk_norm, Execution execution) {
  DecoderOptions options;
  options.vocab_size = 16;
  options.width = 32;
  options.heads = 2;
  options.layers = 1;
  options.qk_norm = qk_norm;
  options.execution = execution;
  options.scales = scale_preset(preset);
  return options;
}

}  // namespace

TEST_CASE("a decoder's loss and gradients on the device are the CPU's, in float32 and under autocast") {
  if (skipped()) return;
  for (const char* preset : {"plain", "hg", "dp", "dnp", "or", "unified"})
    for (const bool qk_norm : {false, true})
      for (const Execution execution : {Execution::naive, Execution::folded}) {
        INFO(preset << ", qk_norm " << qk_norm << ", folded " << (execution == Execution::folded));
        check_decoder(small_decoder(preset, qk_norm, execution));
      }
}

namespace {

// How often a forward pass under autocast converts activations [4, 8, …] for a product. The host's attention, whose
// heads have a dimension more, does it by itself.
int conversions(const DecoderOptions& options) {
  Decoder decoder(options, 1);
  decoder.to(kPlace);
  const OnDevice on;
  static int seen;
  seen = 0;
  const at::CallbackHandle handle = at::addGlobalCallback(
      at::RecordFunctionCallback([](const at::RecordFunction& function) {
        if (std::string_view(function.name()) != "aten::_to_copy" || !function.inputs()[0].isTensor())
          return std::unique_ptr<at::ObserverContext>();
        const Tensor& x = function.inputs()[0].toTensor();
        if (x.dim() == 3 && x.size(1) == 8 && x.scalar_type() == torch::kFloat32) ++seen;
        return std::unique_ptr<at::ObserverContext>();
      }).needsInputs(true));
  {
    const Autocast autocast(kPlace, torch::kBFloat16);
    decoder.loss(tokens().to(kPlace), 0);
  }
  at::removeCallback(handle);
  return seen;
}

}  // namespace

TEST_CASE("under autocast a layer converts no activation behind an RMSNorm, and each LayerNorm's output once") {
  if (skipped()) return;
#if !defined(NDEBUG)
  WARN("not checked: without NDEBUG LibTorch's header lays out a RecordFunction otherwise than its library");
  return;
#endif
  for (const Execution execution : {Execution::naive, Execution::folded})
    for (const NormKind norm : {NormKind::rms, NormKind::layer}) {
      DecoderOptions options = small_decoder("plain", false, execution);
      options.norm = norm;
      const int one = conversions(options);
      options.layers = 3;
      INFO((norm == NormKind::rms ? "RMSNorm" : "LayerNorm") << ", folded " << (execution == Execution::folded));
      CHECK(conversions(options) - one == (norm == NormKind::rms ? 0 : 2 * 2));
    }
}

TEST_CASE("a mixture's loss and gradients on the device are the CPU's, with the experts' products grouped") {
  if (skipped()) return;
  for (const char* preset : {"plain", "hg", "dp", "dnp", "or", "unified"})
    for (const Execution execution : {Execution::naive, Execution::folded})
      for (const std::int64_t shared : {0, 1}) {
        INFO(preset << ", folded " << (execution == Execution::folded) << ", shared " << shared);
        DecoderOptions options = small_decoder(preset, true, execution);
        options.moe.experts = 12;  // of which some have no token
        options.moe.top_k = 3;
        options.moe.expert_width = 24;
        options.moe.shared_width = 16 * shared;
        options.moe.balance_loss = 0.01;
        if (shared) options.activation = Activation::gelu_tanh;
        check_decoder(options);
      }
  // Of widths that LibTorch's grouped product does not take.
  for (const auto& [width, hidden] : {std::pair<std::int64_t, std::int64_t>{28, 24}, {32, 23}}) {
    INFO(width << ", " << hidden);
    DecoderOptions options = small_decoder("plain", true, Execution::folded);
    options.width = width;
    options.moe.experts = 3;
    options.moe.expert_width = hidden;
    check_decoder(options);
  }
}
