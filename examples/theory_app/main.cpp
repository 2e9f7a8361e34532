// Three ways to where weight decay holds an output-norm scale (T5): closed forms, a flow of one's own integrated, and
// replicas simulated with the library's update rules.
#include <cstdio>
#include <scalevec/theory.hpp>
#include <vector>

int main() {
  std::printf("gamma* = 2, h = 1, sigma = 1.5: the gamma that training settles at\n\n");
  std::printf("%8s %10s %11s %10s %10s %10s %18s\n", "decay", "flow", "integrated", "AdamW", "simulated", "signSGD",
              "AdamW, decay to 1");
  for (const double decay : {0.0, 0.01, 0.03, 0.1, 0.3}) {
    scalevec::theory::OutputScaleDecay problem{.h = 1.0, .target = 2.0, .sigma = 1.5, .weight_decay = decay};
    const double flow = scalevec::theory::flow_equilibrium(problem).gamma;
    const double adamw = scalevec::theory::adamw_equilibrium(problem).gamma;
    const double sign_sgd = scalevec::theory::sign_sgd_equilibrium(problem).gamma;

    std::vector<double> gamma{1.0};
    scalevec::theory::integrate_flow(
        [&](const std::vector<double>& x, std::vector<double>& slope) {
          slope[0] = -problem.h * (x[0] - problem.target) - decay * x[0];
        },
        gamma, 40.0);

    scalevec::theory::OutputScaleCell cell;  // that problem is its default
    cell.rule.lr = 1e-3;
    cell.rule.weight_decay = decay;
    const auto simulated =
        scalevec::theory::simulate_output_scale(cell, {.steps = 20000, .replicas = 256, .average_steps = 6000});

    problem.decay_target = 1.0;
    std::printf("%8.2f %10.4f %11.4f %10.4f %10.4f %10.4f %18.4f\n", decay, flow, gamma[0], adamw, simulated.gamma_mean,
                sign_sgd, scalevec::theory::adamw_equilibrium(problem).gamma);
  }
}
