#include "theory/simulate/batch_optimizer.hpp"

#include <cmath>
#include <vector>

#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::theory;

TEST_CASE("Lion in the simulation is Lion") {
  // Chen et al., arXiv 2302.06675, Algorithm 2, with each coupling's decay by hand.
  for (const DecayCoupling coupling :
       {DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2, DecayCoupling::l2}) {
    SimulatedRule rule;
    rule.method = SimulatedMethod::lion;
    rule.lr = 0.03;
    rule.weight_decay = 0.2;
    rule.decay_target = 1.0;
    rule.coupling = coupling;
    rule.beta1 = 0.9;
    rule.beta2 = 0.99;
    rule.schedule.shape = Schedule::Shape::linear;
    rule.schedule.total_steps = 50;
    BatchOptimizer optimizer(rule, 3);
    std::vector<double> p{0.5, -1.0, 2.0}, expected = p, m(3, 0.0), g(3);
    for (int t = 0; t < 40; ++t) {
      const double lr = 0.03 * (1.0 - t / 49.0);
      for (std::size_t i = 0; i < 3; ++i) {
        g[i] = 0.3 * p[i] + random_normal(1, i, static_cast<std::uint64_t>(t));
        double grad = g[i], shrink = 0.2 * lr;
        if (coupling == DecayCoupling::independent) shrink = 0.2 * lr / 0.03;
        if (coupling == DecayCoupling::lr2) shrink = 0.2 * lr * lr / 0.03;
        if (coupling == DecayCoupling::l2) {
          grad += 0.2 * (expected[i] - 1.0);
          shrink = 0.0;
        }
        const double c = 0.9 * m[i] + 0.1 * grad;
        m[i] = 0.99 * m[i] + 0.01 * grad;
        expected[i] -= shrink * (expected[i] - 1.0) + lr * (c > 0.0 ? 1.0 : c < 0.0 ? -1.0 : 0.0);
      }
      optimizer.step(p.data(), g.data());
      for (std::size_t i = 0; i < 3; ++i) REQUIRE(std::abs(p[i] - expected[i]) <= 1e-13);
    }
  }
}
