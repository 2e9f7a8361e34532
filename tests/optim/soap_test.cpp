#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/reference_optimizers.hpp"
#include "tests/support/reference_tensors.hpp"

namespace {

using namespace scalevec;
using torch::Tensor;

using State = std::vector<std::pair<std::string, Tensor>>;

State state_of(const reference::Soap& soap, std::int64_t step) {
  return {{"w/step", torch::tensor(step, torch::kInt64)},
          {"w/exp_avg", to_tensor(soap.m)},
          {"w/exp_avg_sq", to_tensor(soap.v)},
          {"w/left", to_tensor(soap.left)},
          {"w/left_basis", to_tensor(soap.ql)},
          {"w/right", to_tensor(soap.right)},
          {"w/right_basis", to_tensor(soap.qr)}};
}

// Each step is taken from the reference's state, so that errors do not add up. A square matrix keeps both of the first
// step's eigenbases unique up to signs.
void check_step_by_step(torch::Dtype dtype, DecayCoupling coupling, double target, double tolerance) {
  constexpr std::int64_t n = 9;
  torch::manual_seed(6);
  const double lr = 1e-2;
  const auto options =
      SOAPOptions(lr).precondition_frequency(2).weight_decay(0.1).decay_coupling(coupling).decay_target(target);
  Tensor param = torch::randn({n, n}, torch::kFloat64).to(dtype).requires_grad_(true);
  reference::Soap soap;
  soap.frequency = 2;
  for (int step = 0; step < 8; ++step) {
    SOAP optimizer(std::vector<Tensor>{param}, options);
    optimizer.set_names({{"w", param, {}}});
    if (step > 0) optimizer.load_named_state(state_of(soap, step));
    param.mutable_grad() = torch::randn({n, n}, torch::kFloat64).to(dtype);
    reference::Matrix p = to_reference(param);
    const Tensor before = to_tensor(p);
    optimizer.step();
    soap.step(p, to_reference(param.grad()), {std::string(to_string(coupling)), 0.1, target, lr, lr});
    INFO("step " << step);
    const Tensor after = to_tensor(p);
    if (step == 0)
      CHECK(torch::equal(param.detach().to(torch::kFloat64), before));
    else
      CHECK(relative(param.detach().to(torch::kFloat64) - before, after - before) <= tolerance);
    const State expected = state_of(soap, step + 1);
    State got = optimizer.named_state();
    std::erase_if(got, [](const auto& entry) { return entry.first == "w/method"; });
    REQUIRE(got.size() == expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      REQUIRE(got[i].first == expected[i].first);
      INFO(got[i].first);
      const bool basis = got[i].first.find("basis") != std::string::npos;
      const Tensor mine = got[i].second.to(torch::kFloat64), theirs = expected[i].second.to(torch::kFloat64);
      const Tensor signs = basis ? (mine * theirs).sum(0, true).sign() : torch::ones({1}, torch::kFloat64);
      if (theirs.norm().item<double>() > 0)
        CHECK(relative(mine, theirs * signs) <= tolerance);
      else
        CHECK(mine.norm().item<double>() == 0);
    }
    const torch::NoGradGuard no_grad;
    param.copy_(after);
  }
}

}  // namespace

TEST_CASE("SOAP's every step follows a double reference from the same state") {
  for (const auto coupling : {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2})
    for (const double target : {0.0, 1.0}) {
      INFO(std::string(to_string(coupling)) << " toward " << target);
      check_step_by_step(torch::kFloat64, coupling, target, 1e-9);
    }
  check_step_by_step(torch::kFloat32, DecayCoupling::lr, 0.0, 2e-3);
}

TEST_CASE("SOAP without rotated sides is AdamW from its second step on") {
  torch::manual_seed(8);
  const Tensor start = torch::randn({7, 5}, torch::kFloat64);
  Tensor a = start.clone().requires_grad_(true), b = start.clone().requires_grad_(true);
  SOAP soap(std::vector<Tensor>{a}, SOAPOptions(1e-2).max_precond_dim(4).weight_decay(0.1));
  AdamW adamw(std::vector<Tensor>{b}, AdamWOptions(1e-2).betas({0.95, 0.95}).weight_decay(0.1));
  a.mutable_grad() = torch::randn({7, 5}, torch::kFloat64);
  soap.step();
  for (int step = 0; step < 5; ++step) {
    a.mutable_grad() = torch::randn({7, 5}, torch::kFloat64);
    b.mutable_grad() = a.grad().clone();
    soap.step();
    adamw.step();
  }
  CHECK((a - b).abs().max().item<double>() <= 1e-14);
}

TEST_CASE("SOAP rotates the sides that are not too long") {
  Tensor param = torch::randn({12, 5}).requires_grad_(true);
  SOAP optimizer(std::vector<Tensor>{param}, SOAPOptions().max_precond_dim(8));
  param.mutable_grad() = torch::randn({12, 5});
  optimizer.step();
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& [name, tensor] : optimizer.named_state()) shapes[name] = tensor.sizes().vec();
  CHECK(shapes.count("param.0.0/left") == 0);
  CHECK(shapes["param.0.0/right"] == std::vector<std::int64_t>{5, 5});
  CHECK(shapes["param.0.0/right_basis"] == std::vector<std::int64_t>{5, 5});
  CHECK(shapes["param.0.0/exp_avg_sq"] == std::vector<std::int64_t>{12, 5});
}
