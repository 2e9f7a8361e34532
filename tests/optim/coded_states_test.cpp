#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"

// States of 8 bits: what a code means, how it is chosen, and that training does not see it.
namespace {

using namespace scalevec;
using torch::Tensor;

constexpr std::int64_t kBlock = 256;

// The map as docs/optimizers/adamw8bit.md has it: a code counts the numbers 2^e·(1 + i/16) from the offset on, less it.
double offset_of(bool with_sign) { return std::ldexp(1.0, with_sign ? -7 : -15); }
double value_of(int code, bool with_sign) {
  const int magnitude = with_sign ? code % 128 : code;
  const double y = std::ldexp(1.0 + magnitude % 16 / 16.0, magnitude / 16) * offset_of(with_sign);
  return (with_sign && code >= 128 ? -1.0 : 1.0) * (y - offset_of(with_sign));
}

Tensor state_of(const Optimizer& optimizer, const std::string& name) {
  for (const auto& [key, tensor] : optimizer.named_state())
    if (key == "w/" + name) return tensor;
  return {};
}

std::vector<double> decoded(const Optimizer& optimizer, const std::string& name, bool with_sign) {
  const Tensor codes = state_of(optimizer, name), scales = state_of(optimizer, name + "_scale").to(torch::kFloat64);
  std::vector<double> out;
  for (std::int64_t i = 0; i < codes.numel(); ++i)
    out.push_back(value_of(codes.data_ptr<std::uint8_t>()[i], with_sign) * scales.data_ptr<double>()[i / kBlock]);
  return out;
}

template <class Options>
std::unique_ptr<Optimizer> make(const Tensor& p, Options options) {
  return std::make_unique<Optimizer>(std::vector<torch::optim::OptimizerParamGroup>{std::vector<Tensor>{p}},
                                     std::make_unique<Options>(std::move(options)),
                                     std::vector<NamedParam>{{"w", p, {}}});
}

// Gradients over some thirty powers of two from block to block and ten within one, with zeros and a block of zeros.
Tensor spread_gradient(std::int64_t size, torch::Dtype dtype) {
  Tensor g = torch::randn({size}, torch::kFloat64) * torch::pow(2.0, -10 * torch::rand({size}, torch::kFloat64));
  for (std::int64_t b = 0; b * kBlock < size; ++b) {
    Tensor block = g.narrow(0, b * kBlock, std::min(kBlock, size - b * kBlock));
    block.mul_(b % 5 == 4 ? 0.0 : std::ldexp(1.0, static_cast<int>(b * 7 % 31) - 20));
  }
  g.masked_fill_(torch::rand({size}, torch::kFloat64) < 0.05, 0.0);
  return g.to(dtype);
}

}  // namespace

TEST_CASE("a code is one of the two neighbours of its value, by chance, and a positive one stays positive",
          "[elementwise]") {
  for (const auto dtype : {torch::kFloat32, torch::kFloat64}) {
    torch::manual_seed(2);
    const std::int64_t size = 40 * 1024 + 77;
    const Tensor p = torch::zeros({size}, dtype).requires_grad_(true);
    // One step's moments are (1 − β)g and (1 − β)g²: exact with these.
    const auto optimizer = make(p, AdamW8bitOptions(1e-3).beta1(0.5).beta2(0.75).weight_decay(0.0));
    const Tensor g = spread_gradient(size, dtype), wide = g.to(torch::kFloat64);
    p.mutable_grad() = g;
    optimizer->step();
    for (const bool with_sign : {true, false}) {
      const auto got = decoded(*optimizer, with_sign ? "exp_avg" : "exp_avg_sq", with_sign);
      const Tensor scales = state_of(*optimizer, with_sign ? "exp_avg_scale" : "exp_avg_sq_scale").to(torch::kFloat64);
      int wrong = 0, lost = 0, chosen = 0;
      double deviations = 0;
      for (std::int64_t i = 0; i < size; ++i) {
        const double x = wide.data_ptr<double>()[i], value = with_sign ? 0.5 * x : 0.25 * x * x;
        const double scale = scales.data_ptr<double>()[i / kBlock], normal = std::abs(value) / scale;
        // The spacing of the codes around it.
        const double spacing = scale * std::ldexp(1.0, std::ilogb(normal + offset_of(with_sign))) / 16.0,
                     off = got[i] - value;
        wrong += std::abs(off) > spacing * (1 + 1e-5) || (value == 0.0 && got[i] != 0.0);
        lost += !with_sign && value > 0.0 && got[i] <= 0.0;
        if (normal > 0x1p-12) {
          deviations += off / spacing;
          ++chosen;
        }
      }
      CHECK(wrong == 0);
      CHECK(lost == 0);
      // Of independent choices the mean would have a standard deviation of at most ½/√n; six of them fail by chance
      // once in 5e8.
      CHECK(chosen > 10000);
      CHECK(std::abs(deviations / chosen) <= 3.0 / std::sqrt(chosen));
    }
  }
}

TEST_CASE("a block's scale is a power of two that puts its largest into (7/8, 7/4]", "[elementwise]") {
  torch::manual_seed(3);
  const std::int64_t size = 64 * kBlock;
  const Tensor p = torch::zeros({size}).requires_grad_(true);
  const auto optimizer = make(p, Lion8bitOptions(1e-3).beta2(0.5));
  const Tensor g = spread_gradient(size, torch::kFloat32);
  p.mutable_grad() = g;
  optimizer->step();
  const Tensor scales = state_of(*optimizer, "exp_avg_scale");
  for (std::int64_t b = 0; b < 64; ++b) {
    const double most = 0.5 * g.narrow(0, b * kBlock, kBlock).abs().max().item<double>();
    const double scale = scales[b].item<double>();
    CHECK(std::exp2(std::round(std::log2(scale))) == scale);
    if (most > 0.0) CHECK((most / scale > 0.875 && most / scale <= 1.75));
  }
}

TEST_CASE("a momentum that its codes hold stays as it is under a gradient equal to it", "[elementwise]") {
  torch::manual_seed(4);
  const std::int64_t size = 3 * 1024 + 5;
  const Tensor p = torch::zeros({size}).requires_grad_(true);
  const auto optimizer = make(p, Lion8bitOptions(1e-3));
  p.mutable_grad() = spread_gradient(size, torch::kFloat32);
  optimizer->step();
  const Tensor scales = state_of(*optimizer, "exp_avg_scale").clone();
  const auto before = decoded(*optimizer, "exp_avg", true);
  p.mutable_grad() = torch::tensor(before, torch::kFloat64).to(torch::kFloat32);
  for (int step = 0; step < 5; ++step) optimizer->step();
  // Of a block whose largest has become the least of its scale's range the scale is the next one.
  const Tensor after = state_of(*optimizer, "exp_avg_scale");
  const auto values = decoded(*optimizer, "exp_avg", true);
  std::int64_t same = 0, wrong = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    if (after[i / kBlock].item<float>() != scales[i / kBlock].item<float>()) continue;
    ++same;
    wrong += values[static_cast<size_t>(i)] != before[static_cast<size_t>(i)];
  }
  CHECK(same > size / 2);
  CHECK(wrong == 0);
}

// A whole block is coded by vectors where the machine has them, and one of another size element by element.
TEST_CASE("an element's code is the same in a block that is not whole", "[elementwise]") {
  torch::manual_seed(7);
  const Tensor g = spread_gradient(8 * kBlock, torch::kFloat32);
  g.narrow(0, 2 * kBlock - 1, 1).zero_();  // the element that is left out is not the block's largest
  const std::int64_t size = 2 * kBlock - 1;
  const Tensor p = torch::zeros({2 * kBlock}).requires_grad_(true), q = torch::zeros({size}).requires_grad_(true);
  const auto whole = make(p, AdamW8bitOptions(1e-3)), cut = make(q, AdamW8bitOptions(1e-3));
  for (int step = 0; step < 5; ++step) {
    p.mutable_grad() = g.narrow(0, 0, 2 * kBlock) * (1 + step);
    q.mutable_grad() = g.narrow(0, 0, size) * (1 + step);
    whole->step();
    cut->step();
    for (const char* name : {"exp_avg", "exp_avg_sq"}) {
      CHECK(torch::equal(state_of(*whole, name).narrow(0, 0, size), state_of(*cut, name)));
      CHECK(torch::equal(state_of(*whole, std::string(name) + "_scale"), state_of(*cut, std::string(name) + "_scale")));
    }
  }
  CHECK(torch::equal(p.detach().narrow(0, 0, size), q.detach()));
}

TEST_CASE("blocks at the ends of float32's range keep their values", "[elementwise]") {
  for (const double most : {3e38, 2.9e38, 1e38, 1e-37, 3e-38}) {
    const Tensor g = torch::full({2 * kBlock}, most / 8, torch::kFloat64).to(torch::kFloat32);
    g.narrow(0, 40, 1).fill_(most);
    g.narrow(0, 300, 1).fill_(-most);
    const Tensor p = torch::zeros({2 * kBlock}).requires_grad_(true);
    const auto optimizer = make(p, Lion8bitOptions(1e-3).beta2(0.25));
    p.mutable_grad() = g;
    optimizer->step();
    const auto got = decoded(*optimizer, "exp_avg", true);
    for (std::int64_t i = 0; i < 2 * kBlock; ++i) {
      const double value = 0.75 * static_cast<double>(g.data_ptr<float>()[i]);
      // A spacing is a sixteenth of y = |x|/s + 2⁻⁷ at most, and s above half of the largest |x|; a scale stays below
      // 2¹²⁷, so that the largest of all are cut to 1.93 · 2¹²⁶.
      const double target = std::copysign(std::min(std::abs(value), 1.93 * 0x1p126), value);
      CHECK(std::abs(got[static_cast<size_t>(i)] - target) <= (std::abs(target) + 0x1p-6 * most) / 16 * (1 + 1e-5));
    }
  }
}

TEST_CASE("traces of 8-bit states are within a hundredth of those of float32 over 600 steps", "[elementwise]") {
  const auto compare = [](auto coded_options, auto plain_options, bool drift) {
    torch::manual_seed(5);
    const Tensor start = torch::randn({48, 256}), size = torch::pow(10.0, -1.5 * torch::rand({48, 256}));
    const Tensor p = start.clone().requires_grad_(true), q = start.clone().requires_grad_(true);
    const auto coded = make(p, coded_options), plain = make(q, plain_options);
    const Tensor mean = torch::randn({48, 256});
    double worst = 0;
    std::string which;
    for (int step = 1; step <= 600; ++step) {
      // Noise with a mean that turns, and after half of the steps a tenth as large: v has to fall.
      const double scale = step < 300 ? 1.0 : 0.1;
      const Tensor g = scale * size * (torch::randn({48, 256}) + (drift ? 0.5 * mean : torch::zeros({48, 256})));
      p.mutable_grad() = g;
      q.mutable_grad() = g;
      const bool traced = step % 50 == 0 || step == 5 || step == 20;
      if (traced) {
        coded->trace_next_step();
        plain->trace_next_step();
      }
      coded->step();
      plain->step();
      if (!traced) continue;
      const TraceRow &a = coded->traces()[0], &b = plain->traces()[0];
      for (const TraceField& field : trace_fields()) {
        const double x = a.*field.member, y = b.*field.member;
        if (std::isnan(y)) continue;
        // −g·Δ is a difference of large sums where the momentum is not the gradient's: relative to its terms.
        const bool product = field.member == &TraceRow::predicted_decrease;
        const double off = std::abs(x - y) / (product ? b.grad_norm * b.update_norm : std::abs(y));
        if (off > worst) {
          worst = off;
          which = std::string(field.name) + " at step " + std::to_string(step);
        }
      }
    }
    INFO(which << ": " << worst);
    CHECK(worst <= 0.01);
  };
  for (const bool drift : {false, true}) {
    compare(AdamW8bitOptions(1e-3), AdamWOptions(1e-3), drift);
    compare(Lion8bitOptions(1e-4), LionOptions(1e-4), drift);
  }
}

TEST_CASE("8-bit states train to the loss of float32 states", "[elementwise]") {
  // Logistic regression on batches of 32, inputs whose scales differ by a hundred: the mean loss over the last 100 of
  // 300 steps.
  const auto loss_of = [](const std::function<std::unique_ptr<Optimizer>(const Tensor&)>& made_for) {
    torch::manual_seed(8);
    const std::int64_t inputs = 300;
    const Tensor scale = torch::pow(10.0, -2 * torch::rand({inputs})), truth = torch::randn({inputs}) / scale / 8;
    const Tensor w = torch::zeros({inputs}).requires_grad_(true);
    const auto optimizer = made_for(w);
    double total = 0;
    for (int step = 0; step < 300; ++step) {
      const Tensor x = torch::randn({32, inputs}) * scale;
      const Tensor y = (torch::rand({32}) < torch::sigmoid(x.mv(truth))).to(torch::kFloat32);
      optimizer->zero_grad();
      const Tensor loss = torch::binary_cross_entropy_with_logits(x.mv(w), y);
      loss.backward();
      optimizer->step();
      if (step >= 200) total += loss.item<double>() / 100;
    }
    return total;
  };
  const auto compare = [&](auto coded, auto plain) {
    const double with_codes = loss_of([&](const Tensor& w) { return make(w, coded); });
    const double with_floats = loss_of([&](const Tensor& w) { return make(w, plain); });
    INFO(with_codes << " against " << with_floats);
    CHECK(with_floats < 0.6);  // of ln 2 at the start
    CHECK(std::abs(with_codes / with_floats - 1) <= 0.01);
  };
  compare(AdamW8bitOptions(3e-2), AdamWOptions(3e-2));
  compare(Lion8bitOptions(3e-3), LionOptions(3e-3));
}

TEST_CASE("8-bit states take a byte an element and a number a block") {
  const Tensor p = torch::ones({100, 77}).requires_grad_(true);
  const auto optimizer = make(p, AdamW8bitOptions());
  p.mutable_grad() = torch::ones({100, 77});
  optimizer->step();
  for (const char* name : {"exp_avg", "exp_avg_sq"}) {
    CHECK(state_of(*optimizer, name).scalar_type() == torch::kUInt8);
    CHECK(state_of(*optimizer, name).numel() == 7700);
    CHECK(state_of(*optimizer, std::string(name) + "_scale").numel() == 31);
  }
}
