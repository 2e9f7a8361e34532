// Where weight decay holds an output-norm scale (T5): the closed forms of three optimizers side by side.
#include <cstdio>
#include <scalevec/theory.hpp>

int main() {
  std::printf("gamma* = 2, h = 1, sigma = 1.5: the gamma that training settles at\n\n");
  std::printf("%8s %10s %10s %10s %20s\n", "decay", "flow", "AdamW", "signSGD", "AdamW, decay to 1");
  for (const double decay : {0.0, 0.01, 0.03, 0.1, 0.3}) {
    scalevec::OutputScaleDecay problem{.h = 1.0, .target = 2.0, .sigma = 1.5, .weight_decay = decay};
    const double flow = scalevec::flow_equilibrium(problem).gamma;
    const double adamw = scalevec::adamw_equilibrium(problem).gamma;
    const double sign_sgd = scalevec::sign_sgd_equilibrium(problem).gamma;
    problem.decay_target = 1.0;
    std::printf("%8.2f %10.4f %10.4f %10.4f %20.4f\n", decay, flow, adamw, sign_sgd,
                scalevec::adamw_equilibrium(problem).gamma);
  }
}
