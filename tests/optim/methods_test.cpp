#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/random_methods.hpp"

// Every elementwise method against its formula in plain double loops: over the whole ranges of its options in float64,
// and with its defaults in float32.
namespace {

using namespace scalevec;
using namespace scalevec::random_methods;
using torch::Tensor;
using Groups = std::vector<torch::optim::OptimizerParamGroup>;

// The largest difference over the steps, relative to values above 1, or infinity where one is no number. Gradients of
// element i have the size `size[i]`; the first has none, and the second none in the first three steps.
double worst_of_run(std::unique_ptr<MethodOptions> options, const reference::Vector& size, torch::Dtype dtype,
                    int steps) {
  const std::string method(options->method());
  const auto reference = reference::methods().at(method)(as_reference(*options));
  const std::string coupling(to_string(options->decay_coupling()));
  const double weight_decay = options->weight_decay(), target = options->decay_target(), lr = options->lr();
  const auto n = static_cast<std::int64_t>(size.size());
  const Tensor param = torch::randn({n}, torch::kFloat64).to(dtype).requires_grad_(true);
  reference::Vector p = doubles_of(param);
  Optimizer optimizer(Groups{{std::vector<Tensor>{param}}}, std::move(options));
  double worst = 0.0;
  for (int step = 0; step < steps; ++step) {
    Tensor grad = torch::randn({n}, torch::kFloat64) + 0.3;
    grad *= torch::tensor(size, torch::kFloat64);
    grad[0] = 0.0;
    if (step < 3) grad[1] = 0.0;
    param.mutable_grad() = grad.to(dtype);
    const double factor = step % 10 == 9 ? 0.0 : 1.0 - step / 256.0;
    optimizer.set_lr_factor(factor);
    optimizer.step();
    reference->step(p, doubles_of(param.grad()), {coupling, weight_decay, target, lr * factor, lr});
    const reference::Vector got = doubles_of(param);
    for (size_t i = 0; i < p.size(); ++i) {
      const double gap = std::abs(got[i] - p[i]) / std::max(1.0, std::abs(p[i]));
      worst = gap <= worst ? worst : std::isnan(gap) ? INFINITY : gap;
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("every elementwise method follows its formula over the ranges of its options", "[elementwise]") {
  int methods = 0;
  for (const std::string& method : elementwise_methods()) {
    // Those that take sums or keep averages have references and tests of their own.
    if (reference::methods().count(method) == 0) continue;
    ++methods;
    Random random(11);
    torch::manual_seed(11);
    for (int draw = 0; draw < 40; ++draw) {
      auto options = random_options(random, method);
      const double lr = power_of_ten(random, -6, -1);
      const double weight_decay = draw % 4 == 0 ? 0.0 : power_of_ten(random, -4, -0.5);
      set_shared(*options, lr, weight_decay, kCouplings[draw % 4], draw % 3 == 0 ? 1.0 : 0.0);
      reference::Vector size(20);
      for (double& s : size) s = power_of_ten(random, -6, 4);
      std::string given;
      for (const auto& [name, value] : as_reference(*options)) given += " " + name + "=" + std::to_string(value);
      INFO(method << ", draw " << draw << ":" << given);
      CHECK(worst_of_run(std::move(options), size, torch::kFloat64, 40) <= 1e-11);
    }
  }
  CHECK(methods >= 17);
}

TEST_CASE("every elementwise method follows its formula in float32 for 200 steps", "[elementwise]") {
  for (const std::string& method : elementwise_methods())
    for (const double target : {0.0, 1.0}) {
      if (reference::methods().count(method) == 0) continue;
      torch::manual_seed(7);
      auto options = make_method_options(method);
      // 1/256 is exact in float, so that a sign method's steps are too.
      set_shared(*options, 1.0 / 256, 0.1, DecayCoupling::lr, target);
      INFO(method << " toward " << target);
      // A float step rounds p once: over 200 steps a random walk of standard deviation 5e-7 relative to p.
      CHECK(worst_of_run(std::move(options), reference::Vector(300, 1.0), torch::kFloat32, 200) <= 2e-6);
    }
}
