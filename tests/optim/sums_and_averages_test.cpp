#include <torch/optim/optimizer.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <map>
#include <sstream>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/host_tensors.hpp"
#include "tests/support/message.hpp"

// Methods whose step needs sums over tensors, that keep an average of the weights, or that learn curvature.
namespace {

using namespace scalevec;
using namespace scalevec::host_tests;
using torch::Tensor;
using Groups = std::vector<torch::optim::OptimizerParamGroup>;

Tensor held_buffer(const Optimizer& optimizer, const std::string& name) {
  for (const auto& [key, tensor] : optimizer.named_state())
    if (key == name) return tensor;
  return {};
}

}  // namespace

TEST_CASE("MARS without a correction and with small gradients is AdamW", "[elementwise]") {
  const Tensor p = leaf({40, 7}, 1, torch::kFloat64), q = leaf({40, 7}, 1, torch::kFloat64);
  MarsAdamW mars(std::vector<Tensor>{p}, MarsAdamWOptions(1e-2).gamma(0.0).betas({0.9, 0.99}).weight_decay(0.1));
  AdamW adamw(std::vector<Tensor>{q}, AdamWOptions(1e-2).betas({0.9, 0.99}).weight_decay(0.1));
  for (std::uint64_t step = 0; step < 20; ++step) {
    p.mutable_grad() = gradient(p, step) * 0.01;
    q.mutable_grad() = p.grad().clone();
    REQUIRE(p.grad().norm().item<double>() < 1.0);
    mars.step();
    adamw.step();
  }
  CHECK(torch::allclose(p, q, 0, 1e-15));
}

TEST_CASE("MARS clips the corrected gradient of each tensor by its own norm, in every precision", "[elementwise]") {
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kBFloat16, torch::kFloat16})
    for (const std::string method : {"mars_adamw", "mars_lion"}) {
      INFO(method << " " << c10::toString(dtype));
      // One beyond a unit of work, one within the threshold.
      const Tensor large = leaf({20000}, 1, dtype), small = leaf({8}, 2, dtype);
      Optimizer optimizer(Groups{{std::vector<Tensor>{large, small}}}, make_method_options(method),
                          {{"large", large, {}}, {"small", small, {}}});
      large.mutable_grad() = gradient(large, 1);
      small.mutable_grad() = gradient(small, 2) * 0.1;
      optimizer.step();
      // c = g(1 + 0.025·0.95/0.05) at the first step, and the mean begins at a twentieth of it.
      const double factor = 1.0 + 0.025 * 0.95 / 0.05, share = 0.05;
      const auto mean_norm = [&](const char* name) {
        return held_buffer(optimizer, std::string(name) + "/exp_avg").to(torch::kFloat64).norm().item<double>();
      };
      CHECK(std::abs(mean_norm("large") / share - 1.0) <= 2e-6);
      const double within = factor * small.grad().to(torch::kFloat64).norm().item<double>();
      REQUIRE(within < 1.0);
      CHECK(std::abs(mean_norm("small") / (share * within) - 1.0) <= 2e-6);
    }
}

TEST_CASE("Prodigy's d stays below the distance to the solution of a convex problem, and reaches a part of it",
          "[elementwise]") {
  // Theorem: with the weights of s and of the numerator equal, d ≤ ‖p₀ − p*‖∞ for any convex loss, over all tensors.
  const Tensor a = leaf({30}, 1, torch::kFloat64), b = leaf({4, 5}, 2, torch::kFloat64);
  torch::manual_seed(5);
  const std::vector<Tensor> params{a, b}, target{a.detach() + torch::randn({30}, torch::kFloat64),
                                                 b.detach() + 3.0 * torch::randn({4, 5}, torch::kFloat64)};
  std::vector<Tensor> curvature;
  double farthest = 0.0;
  for (size_t i = 0; i < 2; ++i) {
    curvature.push_back(torch::rand(params[i].sizes(), torch::kFloat64) + 0.1);
    farthest = std::max(farthest, (params[i].detach() - target[i]).abs().max().item<double>());
  }
  Optimizer optimizer(Groups{{params}}, std::make_unique<ProdigyOptions>(), {{"a", a, {}}, {"b", b, {}}});
  const auto loss = [&] {
    double total = 0.0;
    for (size_t i = 0; i < 2; ++i)
      total += 0.5 * (curvature[i] * (params[i].detach() - target[i]).square()).sum().item<double>();
    return total;
  };
  const double before = loss();
  for (int step = 0; step < 300; ++step) {
    for (size_t i = 0; i < 2; ++i) params[i].mutable_grad() = curvature[i] * (params[i].detach() - target[i]);
    optimizer.step();
    const Tensor numbers = held_buffer(optimizer, "a/numbers");
    // One estimate for the group.
    REQUIRE(torch::equal(numbers, held_buffer(optimizer, "b/numbers")));
    REQUIRE(numbers[0].item<double>() <= farthest * (1 + 1e-12));
  }
  CHECK(held_buffer(optimizer, "a/numbers")[0].item<double>() > 0.01 * farthest);
  CHECK(loss() < 0.01 * before);
}

TEST_CASE("Prodigy without a gradient, and at lr 0, stays where it is and then starts as at first", "[elementwise]") {
  for (const bool no_lr : {false, true}) {
    const Tensor p = leaf({6, 3}, 1, torch::kFloat64), begin = p.detach().clone();
    Prodigy optimizer(std::vector<Tensor>{p}, ProdigyOptions(1.0).weight_decay(0.1));
    if (no_lr) static_cast<MethodOptions&>(optimizer.param_groups()[0].options()).set_lr(0.0);
    for (std::uint64_t step = 0; step < 3; ++step) {
      p.mutable_grad() = no_lr ? gradient(p, step) : torch::zeros_like(p);
      optimizer.step();
    }
    CHECK(torch::equal(p, begin));
    CHECK(held_buffer(optimizer, "param.0.0/numbers")[0].item<double>() == 1e-6);
    static_cast<MethodOptions&>(optimizer.param_groups()[0].options()).set_lr(1.0);
    const Tensor q = begin.clone().requires_grad_(true);
    Prodigy fresh(std::vector<Tensor>{q}, ProdigyOptions(1.0).weight_decay(0.1));
    for (std::uint64_t step = 5; step < 8; ++step) {
      set_grad(p, step);
      set_grad(q, step);
      optimizer.step();
      fresh.step();
    }
    CHECK(torch::allclose(p, q, 0, 1e-15));
  }
}

TEST_CASE("the average weights are the weighted mean of z, and what trains comes back to the bit", "[elementwise]") {
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kBFloat16}) {
    INFO(c10::toString(dtype));
    const Tensor p = leaf({30, 4}, 1, dtype), other = leaf({5}, 2, dtype), never = leaf({3}, 3, dtype);
    Groups groups;
    groups.emplace_back(std::vector<Tensor>{p, never},
                        std::make_unique<ScheduleFreeSGDOptions>(
                            ScheduleFreeSGDOptions(0.1).momentum(0.8).r(1.0).rounding("compensated")));
    groups.emplace_back(std::vector<Tensor>{other}, std::make_unique<AdamWOptions>(1e-2));
    Optimizer optimizer(groups, std::make_unique<AdamWOptions>(1e-2));
    REQUIRE(optimizer.has_average_weights());
    Tensor z = p.detach().to(torch::kFloat64), mean = torch::zeros_like(z);
    double weights = 0.0, lr_max = 0.0;
    for (int step = 0; step < 25; ++step) {
      const double factor = std::min(1.0, (step + 1) / 10.0) * (step > 15 ? 0.5 : 1.0);
      optimizer.set_lr_factor(factor);
      set_grad(p, static_cast<std::uint64_t>(step));
      set_grad(other, static_cast<std::uint64_t>(step));
      // z is plain gradient descent; its mean has the weights t·(largest lr)².
      z = z - 0.1 * factor * p.grad().to(torch::kFloat64);
      lr_max = std::max(lr_max, 0.1 * factor);
      const double weight = (step + 1) * lr_max * lr_max;
      weights += weight;
      mean += weight * (z - mean) / weights;
      optimizer.step();
    }
    const Tensor trains = p.detach().clone(), beside = other.detach().clone(), still = never.detach().clone();
    const double tolerance = dtype == torch::kFloat64 ? 1e-14 : dtype == torch::kFloat32 ? 5e-6 : 0x1p-7;
    {
      const AverageWeights average(optimizer);
      const AverageWeights within(optimizer);
      CHECK(((p.detach().to(torch::kFloat64) - mean).abs() / mean.abs().clamp_min(1.0)).max().item<double>() <=
            tolerance);
      CHECK(!torch::equal(p, trains));
      CHECK(torch::equal(other, beside));
      CHECK(torch::equal(never, still));
      CHECK(message_of([&] { optimizer.step(); }).find("average weights are in place") != std::string::npos);
    }
    CHECK(torch::equal(p, trains));
    CHECK(!optimizer.average_weights());
    optimizer.step();
  }
}

TEST_CASE("a weight of 0 in the mean is refused", "[elementwise]") {
  const Tensor p = leaf({3}, 1);
  CHECK(message_of([&] {
          ScheduleFreeSGD(std::vector<Tensor>{p}, ScheduleFreeSGDOptions(0.1).momentum(0.0));
        }).find("momentum: got 0.000000; allowed: above 0") != std::string::npos);
  CHECK(message_of([&] {
          ScheduleFreeAdamW(std::vector<Tensor>{p}, ScheduleFreeAdamWOptions(0.1).beta1(0.0));
        }).find("beta1: got 0.000000; allowed: above 0") != std::string::npos);
}

TEST_CASE("Sophia with the curvature of a quadratic makes Newton's step, clipped element by element", "[elementwise]") {
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kBFloat16}) {
    INFO(c10::toString(dtype));
    // ½ Σ h(p − 1)², h from 1 to 2²⁰; powers of two, so that nothing is rounded.
    const Tensor h = torch::exp2(2 * torch::arange(11, torch::kFloat64));
    Tensor p = (torch::arange(11, torch::kFloat64) / 4).to(dtype).requires_grad_(true);
    Sophia optimizer(std::vector<Tensor>{p}, SophiaOptions(1.0).betas({0.0, 0.0}).gamma(1.0));
    // ĝ² · samples = h.
    optimizer.update_hessian(4.0, [&] {
      p.mutable_grad() = (h.sqrt() / 2).to(dtype);
      return Tensor();
    });
    CHECK(torch::equal(held_buffer(optimizer, "param.0.0/hessian").to(torch::kFloat64), h));
    const Tensor before = p.detach().to(torch::kFloat64).clone();
    p.mutable_grad() = (h * (before - 1)).to(dtype);
    optimizer.step();
    CHECK(torch::allclose(p.detach().to(torch::kFloat64), before - (before - 1).clamp(-1.0, 1.0), 0,
                          dtype == torch::kFloat64   ? 1e-15
                          : dtype == torch::kFloat32 ? 1e-6
                                                     : 0x1p-7));
  }
}

TEST_CASE("Sophia's estimate is in expectation the Gauss-Newton diagonal", "[elementwise]") {
  // Logistic regression on three points: all 8 labellings with their chances, so that the expectation is exact.
  const Tensor x = torch::tensor({{1.0, -2.0}, {0.5, 0.25}, {-1.5, 3.0}}, torch::kFloat64);
  const Tensor w = torch::tensor({0.3, -0.2}, torch::kFloat64);
  const Tensor chance = torch::sigmoid(x.matmul(w));
  Tensor expected = (x.square() * (chance * (1 - chance)).unsqueeze(1)).mean(0),
         mean = torch::zeros(2, torch::kFloat64);
  for (int labels = 0; labels < 8; ++labels) {
    Tensor p = w.clone().requires_grad_(true);
    double probability = 1.0;
    Tensor y = torch::zeros(3, torch::kFloat64);
    for (int i = 0; i < 3; ++i) {
      const double c = chance[i].item<double>();
      y[i] = labels >> i & 1;
      probability *= labels >> i & 1 ? c : 1.0 - c;
    }
    Sophia optimizer(std::vector<Tensor>{p}, SophiaOptions().beta2(0.0));
    optimizer.update_hessian(3.0, [&] {
      const Tensor loss = torch::binary_cross_entropy_with_logits(x.matmul(p), y);
      loss.backward();
      return loss;
    });
    mean += probability * held_buffer(optimizer, "param.0.0/hessian");
  }
  CHECK(torch::allclose(mean, expected, 1e-12, 0));
}

TEST_CASE(
    "an estimate of curvature leaves values, steps and other methods alone, is saved, and refuses what is not "
    "finite",
    "[elementwise]") {
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    const Tensor p = leaf({300, 70}, 1, dtype), q = leaf({9}, 2, dtype);
    // With holes in memory: it is worked on in a copy, and its gradient is laid out otherwise.
    const Tensor holes = leaf({6, 8}, 3, dtype).slice(1, 0, 8, 2).detach().requires_grad_(true);
    Groups groups;
    groups.emplace_back(std::vector<Tensor>{p, holes}, std::make_unique<SophiaOptions>(1e-2));
    groups.emplace_back(std::vector<Tensor>{q}, std::make_unique<AdamWOptions>(1e-2));
    Optimizer optimizer(groups, std::make_unique<AdamWOptions>(1e-2),
                        {{"p", p, {}}, {"q", q, {}}, {"holes", holes, {}}});
    CHECK(optimizer.hessian_every() == 10);
    const Tensor before = p.detach().clone();
    for (const Tensor& t : {p, q, holes}) set_grad(t, 1);
    optimizer.update_hessian(16.0);
    CHECK(torch::equal(p, before));
    CHECK(held_buffer(optimizer, "p/step").item<std::int64_t>() == 0);
    CHECK(!held_buffer(optimizer, "q/step").defined());
    for (const auto& [name, t] : {std::pair{"p", p}, {"holes", holes}})
      CHECK(torch::allclose(held_buffer(optimizer, std::string(name) + "/hessian").to(torch::kFloat64),
                            0.16 * t.grad().to(torch::kFloat64).square(), 1e-6, 0));
    std::stringstream file;
    torch::save(optimizer, file);
    const auto state = held_by(optimizer);
    Optimizer second(groups, std::make_unique<AdamWOptions>(1e-2), {{"p", p, {}}, {"q", q, {}}, {"holes", holes, {}}});
    torch::load(second, file);
    for (const auto& [name, tensor] : held_by(second)) CHECK(torch::equal(tensor, state.at(name)));
    p.grad()[0][0] = std::nan("");
    CHECK(message_of([&] { optimizer.update_hessian(16.0); }) == "the gradient of p is not finite");
    CHECK(message_of([&] { optimizer.update_hessian(0.0); }).find("samples: got 0") != std::string::npos);
    for (const auto& [name, tensor] : held_by(optimizer)) CHECK(torch::equal(tensor, state.at(name)));
  }
  const Tensor p = leaf({3}, 1);
  AdamW plain(std::vector<Tensor>{p}, AdamWOptions());
  CHECK(plain.hessian_every() == 0);
  set_grad(p, 1);
  plain.update_hessian(1.0);
  CHECK(plain.named_state().empty());
}
