#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/reference_optimizers.hpp"

// 200 steps of the elementwise methods that PyTorch lacks, against plain double loops.
namespace {

using namespace scalevec;
using torch::Tensor;

constexpr std::int64_t kSize = 300;
constexpr double kLr = 1.0 / 256;  // exact in float, so that a sign method's steps are too
// A float step rounds p once. Over 200 steps that is a random walk of standard deviation 5e-7 relative to p.
constexpr double kFloatTolerance = 2e-6;

// One copy of all elements: item() on each would take most of the test's time.
reference::Vector values_of(const Tensor& t) {
  const Tensor flat = t.detach().to(torch::kFloat64).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

// Largest difference over 200 steps with a falling lr.
template <class Options, class Reference>
double worst_difference(Options options, Reference reference, DecayCoupling coupling, double target,
                        torch::Dtype dtype) {
  torch::manual_seed(7);
  Tensor param = torch::randn({kSize}, torch::kFloat64).to(dtype);
  reference::Vector p = values_of(param);
  param.requires_grad_(true);
  options.lr(kLr).weight_decay(0.1).decay_coupling(coupling).decay_target(target);
  SingleMethodOptimizer<Options> optimizer(std::vector<Tensor>{param}, options);
  double worst = 0;
  for (int step = 0; step < 200; ++step) {
    const Tensor grad = (torch::randn({kSize}, torch::kFloat64) + 0.3).to(dtype);
    param.mutable_grad() = grad;
    const double factor = 1.0 - step / 256.0;
    optimizer.set_lr_factor(factor);
    optimizer.step();
    reference.step(p, values_of(grad), {std::string(to_string(coupling)), 0.1, target, kLr * factor, kLr});
    const reference::Vector got = values_of(param);
    for (size_t i = 0; i < p.size(); ++i)
      worst = std::max(worst, std::abs(got[i] - p[i]) / std::max(1.0, std::abs(p[i])));
  }
  return worst;
}

}  // namespace

TEST_CASE("AdEMAMix, Lion and Signum follow their formulas for 200 steps under every decay", "[elementwise]") {
  for (const auto coupling : {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2})
    for (const double target : {0.0, 1.0}) {
      INFO(std::string(to_string(coupling)) << " toward " << target);
      reference::AdEMAMix warm;
      warm.alpha = 5.0;
      warm.warmup = 150;
      const auto options = AdEMAMixOptions().alpha(5.0).alpha_warmup(150).beta3_warmup(150);
      CHECK(worst_difference(AdEMAMixOptions(), reference::AdEMAMix{}, coupling, target, torch::kFloat64) <= 1e-12);
      CHECK(worst_difference(options, warm, coupling, target, torch::kFloat64) <= 1e-12);
      CHECK(worst_difference(options, warm, coupling, target, torch::kFloat32) <= kFloatTolerance);
      CHECK(worst_difference(LionOptions(), reference::Lion{}, coupling, target, torch::kFloat64) <= 1e-12);
      CHECK(worst_difference(SignumOptions(), reference::Signum{}, coupling, target, torch::kFloat64) <= 1e-12);
      CHECK(worst_difference(LionOptions(), reference::Lion{}, coupling, target, torch::kFloat32) <= kFloatTolerance);
      CHECK(worst_difference(SignumOptions(), reference::Signum{}, coupling, target, torch::kFloat32) <=
            kFloatTolerance);
    }
}
