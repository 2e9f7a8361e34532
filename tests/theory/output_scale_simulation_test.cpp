#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"
#include "theory/output_scale_decay.hpp"
#include "theory/simulate/output_scale.hpp"

using namespace scalevec;
using namespace scalevec::theory;

namespace {

constexpr OutputScaleToy kToy{0.9, 2.0, 1.5, 1.0};

double noise(std::uint64_t seed, std::int64_t step, std::int64_t replica) {
  return random_normal(seed, stream_of("toy.noise") + static_cast<std::uint64_t>(replica),
                       static_cast<std::uint64_t>(step));
}

// What one replica should do, written from the papers' formulas: the learning rate and the decay by hand for each case.
struct Reference {
  double gamma, m = 0.0, v = 0.0;
  double grad_sq = 0.0, param_sq = 0.0, update_sq = 0.0, cross = 0.0, decrease = 0.0, adaptive = 0.0;

  void move(double next, double grad) {
    const double delta = next - gamma;
    grad_sq = grad * grad;
    param_sq = gamma * gamma;
    update_sq = delta * delta;
    cross = gamma * delta;
    decrease = -grad * delta;
    gamma = next;
  }
};

void adamw_step(Reference& r, double grad, int t, double lr, double decay, double target, double b1, double b2,
                double eps) {
  r.m = b1 * r.m + (1.0 - b1) * grad;
  r.v = b2 * r.v + (1.0 - b2) * grad * grad;
  const double m_hat = r.m / (1.0 - std::pow(b1, t)), v_hat = r.v / (1.0 - std::pow(b2, t));
  r.adaptive = lr / (std::sqrt(v_hat) + eps);
  r.move(r.gamma - decay * (r.gamma - target) - lr * m_hat / (std::sqrt(v_hat) + eps), grad);
}

bool near(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b)); }

}  // namespace

TEST_CASE("AdamW in the simulation is AdamW", "[T5]") {
  SimulatedRule rule;
  rule.lr = 0.02;
  rule.weight_decay = 0.03;
  rule.decay_target = 1.0;
  rule.beta1 = 0.8;
  rule.beta2 = 0.97;
  rule.eps = 1e-3;
  rule.schedule.shape = Schedule::Shape::linear;
  rule.schedule.warmup_steps = 10;
  rule.schedule.total_steps = 250;
  SimulationOptions options;
  options.steps = 200;
  options.replicas = 5;
  options.average_steps = 40;
  options.seed = 11;
  options.trace_steps = {0, 120, 199};

  for (const DecayCoupling coupling : {DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2}) {
    rule.coupling = coupling;
    const OutputScaleResult got = simulate_output_scale({kToy, rule}, options);
    std::vector<Reference> reference(5, Reference{kToy.gamma0});
    std::vector<double> average(5, 0.0);
    size_t trace = 0;
    for (int step = 0; step < 200; ++step) {
      const double factor = step < 10 ? (step + 1) / 10.0 : 1.0 - (step - 9) / 240.0;
      const double lr = 0.02 * factor, lr0 = 0.02;
      const double decay = coupling == DecayCoupling::lr            ? lr * 0.03
                           : coupling == DecayCoupling::independent ? 0.03 * lr / lr0
                                                                    : 0.03 * lr * lr / lr0;
      double grad_sq = 0, param_sq = 0, update_sq = 0, cross = 0, decrease = 0, adaptive = 0;
      for (int i = 0; i < 5; ++i) {
        Reference& r = reference[i];
        const double grad = kToy.h * (r.gamma - kToy.target) + kToy.sigma * noise(11, step, i);
        adamw_step(r, grad, step + 1, lr, decay, 1.0, 0.8, 0.97, 1e-3);
        if (step >= 160) average[i] += r.gamma / 40.0;
        grad_sq += r.grad_sq;
        param_sq += r.param_sq;
        update_sq += r.update_sq;
        cross += r.cross;
        decrease += r.decrease;
        adaptive += r.adaptive / 5.0;
      }
      if (trace < 3 && options.trace_steps[trace] == step) {
        const TraceRow& row = got.traces.at(trace++);
        CHECK(row.name == "gamma");
        CHECK(row.group == "scale.output");
        CHECK(row.method == "adamw");
        CHECK(row.count == 5);
        CHECK(near(row.scheduled_lr, lr, 1e-15));
        CHECK(near(row.grad_norm, std::sqrt(grad_sq), 1e-11));
        CHECK(near(row.param_norm, std::sqrt(param_sq), 1e-11));
        CHECK(near(row.update_norm, std::sqrt(update_sq), 1e-11));
        CHECK(near(row.update_ratio, std::sqrt(update_sq / param_sq), 1e-11));
        CHECK(near(row.predicted_decrease, decrease, 1e-11));
        CHECK(near(row.adaptive_lr, adaptive, 1e-11));
        const double cosine = (param_sq + cross) / std::sqrt(param_sq * (param_sq + 2 * cross + update_sq));
        CHECK(near(std::cos(row.rotation), cosine, 1e-12));
      }
    }
    double mean = 0.0;
    for (int i = 0; i < 5; ++i) {
      CHECK(near(got.final_gamma.at(i), reference[i].gamma, 1e-12));
      mean += average[i] / 5.0;
    }
    double squares = 0.0;
    for (const double a : average) squares += (a - mean) * (a - mean);
    CHECK(near(got.gamma_mean, mean, 1e-12));
    CHECK(near(got.gamma_stderr, std::sqrt(squares / 4.0 / 5.0), 1e-9));
  }
}

TEST_CASE("SGD and Signum in the simulation are SGD and Signum", "[T5]") {
  SimulationOptions options;
  options.steps = 200;
  options.replicas = 3;
  options.seed = 5;
  SimulatedRule sgd;
  sgd.method = SimulatedMethod::sgd;
  sgd.lr = 0.03;
  sgd.weight_decay = 0.2;
  sgd.coupling = DecayCoupling::l2;
  sgd.decay_target = 1.0;
  sgd.momentum = 0.7;
  sgd.dampening = 0.1;
  SimulatedRule nesterov = sgd;
  nesterov.coupling = DecayCoupling::lr;
  nesterov.dampening = 0.0;
  nesterov.nesterov = true;
  SimulatedRule signum;
  signum.method = SimulatedMethod::signum;
  signum.lr = 0.01;
  signum.weight_decay = 0.2;
  signum.momentum = 0.6;
  SimulatedRule sign = signum;
  sign.momentum = 0.0;
  const std::vector<OutputScaleCell> cells = {{kToy, sgd}, {kToy, nesterov}, {kToy, signum}, {kToy, sign}};
  const auto results = simulate_output_scale(cells, options);

  for (int i = 0; i < 3; ++i) {
    double a = 1.0, a_buffer = 0.0, b = 1.0, b_buffer = 0.0, c = 1.0, c_buffer = 0.0, d = 1.0;
    for (int step = 0; step < 200; ++step) {
      const double n = 1.5 * noise(5, step, i);
      const double a_grad = 0.9 * (a - 2.0) + n + 0.2 * (a - 1.0);
      a_buffer = step == 0 ? a_grad : 0.7 * a_buffer + 0.9 * a_grad;
      a -= 0.03 * a_buffer;
      const double b_grad = 0.9 * (b - 2.0) + n;
      b_buffer = step == 0 ? b_grad : 0.7 * b_buffer + b_grad;
      b = b * (1.0 - 0.03 * 0.2) + 0.03 * 0.2 * 1.0 - 0.03 * (b_grad + 0.7 * b_buffer);
      const double c_grad = 0.9 * (c - 2.0) + n;
      c_buffer = 0.6 * c_buffer + 0.4 * c_grad;
      c = c * (1.0 - 0.01 * 0.2) - std::copysign(0.01, c_buffer);
      d = d * (1.0 - 0.01 * 0.2) - std::copysign(0.01, 0.9 * (d - 2.0) + n);
    }
    CHECK(near(results[0].final_gamma[i], a, 1e-12));
    CHECK(near(results[1].final_gamma[i], b, 1e-12));
    CHECK(near(results[2].final_gamma[i], c, 1e-12));
    CHECK(near(results[3].final_gamma[i], d, 1e-12));
  }
}

TEST_CASE("a cell does not depend on the others, nor a replica on its block", "[T5]") {
  SimulatedRule rule;
  rule.lr = 0.01;
  SimulatedRule decayed = rule;
  decayed.weight_decay = 0.5;
  SimulationOptions options;
  options.steps = 30;
  options.replicas = 1300;  // more than two blocks
  options.trace_steps = {7};
  const auto both = simulate_output_scale(std::vector<OutputScaleCell>{{kToy, rule}, {kToy, decayed}}, options);
  const auto alone = simulate_output_scale({kToy, decayed}, options);
  CHECK(both[1].final_gamma == alone.final_gamma);
  CHECK(both[1].gamma_mean == alone.gamma_mean);
  CHECK(both[1].traces[0].update_norm == alone.traces[0].update_norm);
  CHECK(both[0].final_gamma != alone.final_gamma);
  CHECK(alone.traces[0].count == 1300);
  // Replica 1200 from its own noise.
  Reference r{kToy.gamma0};
  for (int step = 0; step < 30; ++step) {
    const double grad = kToy.h * (r.gamma - kToy.target) + kToy.sigma * noise(0, step, 1200);
    adamw_step(r, grad, step + 1, 0.01, 0.01 * 0.5, 0.0, 0.9, 0.999, 1e-8);
  }
  CHECK(near(alone.final_gamma[1200], r.gamma, 1e-12));
}

// The mean over 512 independent replicas is normal to good accuracy: 5 standard errors give 6e-7 false alarms per
// check, 4e-6 for the six. The bias of AdamW and signSGD at this lr and β₂ is under 1e-3 of γ∞ (first order in the lr).
TEST_CASE("long simulations settle where the closed forms say", "[T5]") {
  SimulationOptions options;
  options.steps = 24000;
  options.average_steps = 8000;
  options.replicas = 512;
  options.seed = 3;
  std::vector<OutputScaleCell> cells;
  std::vector<double> expected;
  for (const double decay_target : {0.0, 1.0})
    for (const SimulatedMethod method : {SimulatedMethod::sgd, SimulatedMethod::adamw, SimulatedMethod::signum}) {
      SimulatedRule rule;
      rule.method = method;
      rule.lr = 1e-3;
      rule.weight_decay = 0.3;
      rule.decay_target = decay_target;
      cells.push_back({{1.0, 2.0, 1.5, 1.0}, rule});
      const OutputScaleDecay p{1.0, 2.0, 1.5, 0.3, decay_target};
      expected.push_back(method == SimulatedMethod::sgd     ? flow_equilibrium(p).gamma
                         : method == SimulatedMethod::adamw ? adamw_equilibrium(p).gamma
                                                            : sign_sgd_equilibrium(p).gamma);
    }
  const auto results = simulate_output_scale(cells, options);
  for (size_t i = 0; i < cells.size(); ++i) {
    const double bias = cells[i].rule.method == SimulatedMethod::sgd ? 0.0 : 1e-3 * expected[i];
    INFO("cell " << i << ": " << results[i].gamma_mean << " +- " << results[i].gamma_stderr << ", expected "
                 << expected[i]);
    CHECK(std::abs(results[i].gamma_mean - expected[i]) <= 5.0 * results[i].gamma_stderr + bias);
    CHECK(results[i].gamma_stderr < 2e-3);
  }
}

TEST_CASE("a replica is the same in any batch", "[T5]") {
  SimulatedRule rule;
  rule.lr = 0.01;
  SimulationOptions few;
  few.steps = 50;
  few.replicas = 3;
  SimulationOptions many = few;
  many.replicas = 2000;  // several blocks
  const OutputScaleCell cell{kToy, rule};
  const auto a = simulate_output_scale(cell, few).final_gamma, b = simulate_output_scale(cell, many).final_gamma;
  for (size_t i = 0; i < 3; ++i) CHECK(a.at(i) == b.at(i));
  CHECK(b.at(1999) != b.at(0));
}

TEST_CASE("unsound options are refused by name", "[T5]") {
  SimulatedRule rule;
  CHECK(rule.error() == "lr must be finite and > 0");
  rule.lr = 0.1;
  CHECK(rule.error().empty());
  rule.beta2 = 1.0;
  CHECK(rule.error() == "beta2 must be in [0, 1)");
  SimulationOptions options;
  options.steps = 10;
  CHECK_THROWS_AS(simulate_output_scale({kToy, rule}, options), std::invalid_argument);
  rule.beta2 = 0.9;
  options.average_steps = 11;
  CHECK(options.error() == "average_steps must be in 1..steps");
  options.average_steps = 1;
  options.trace_steps = {3, 3};
  CHECK(options.error() == "trace_steps must be ascending");
  options.trace_steps = {10};
  CHECK_THROWS_AS(simulate_output_scale({kToy, rule}, options), std::invalid_argument);
  options.trace_steps = {};
  CHECK_THROWS_AS(simulate_output_scale({{-1.0, 2.0, 1.0, 1.0}, rule}, options), std::invalid_argument);
}
