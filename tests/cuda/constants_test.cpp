#include <torch/types.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "optim/cuda/cuda_step.hpp"
#include "optim/methods.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"

namespace {

using namespace scalevec;

struct State {
  double a = 0.0, b = 0.0, c = 0.0, d = 0.0;
};

template <class M>
rules::SteppedValue<double> apply(const cuda::Constants& c, double p, double g, State& s, double& inv) {
  return step_element<M, (1u << kBuffers<M>)-1>(constants_as<M, double>(c.values.data()), c.decay, p, g, s.a, s.b, s.c,
                                                s.d, inv);
}

// A step as the device's kernels make it; `kept`: the numbers that the method keeps of the parameter.
template <class M>
double stepped(const cuda::GroupOptions& group, double clip_factor, int step, double p, double g, State& s,
               double* kept) {
  double inv = 0.0;
  cuda::advance_numbers<M>(group, step, nullptr, kept);
  cuda::Constants c = cuda::constants_at(group, clip_factor, step, kept, true);
  if constexpr (kMeasures<M>) {
    const double of_pass = apply<typename M::Measure>(c, p, g, s, inv).by;
    const double sums[2] = {of_pass, inv};
    cuda::advance_numbers<M>(group, step, sums, kept);
    c = cuda::constants_at(group, clip_factor, step, kept);
  }
  return apply<M>(c, p, g, s, inv).value;
}

// Fifty steps of one element with a clipped gradient and a falling lr: by the CPU's optimizer, and with the constants
// that the device makes itself.
template <class M>
void check_same_as_optimizer(OptionsOf<M> options) {
  const double max_norm = 0.5;
  for (const auto coupling : {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2}) {
    options.weight_decay(0.1).decay_coupling(coupling).decay_target(1.0).initial_lr(2e-2);
    for (const bool member : {true, false}) {
      options.clip(member);
      const torch::Tensor param = torch::full({1}, 0.7, torch::kFloat64).requires_grad_(true);
      SingleMethodOptimizer<OptionsOf<M>> optimizer({param}, options);
      optimizer.set_max_norm(max_norm);
      double p = 0.7;
      State state;
      double kept[kMaxScalars] = {};
      for (int step = 1; step <= 50; ++step) {
        const double g = std::sin(step * 1.7);
        options.lr(1e-2 / step);
        optimizer.param_groups()[0].options().set_lr(1e-2 / step);
        param.mutable_grad() = torch::full({1}, g, torch::kFloat64);
        optimizer.step();
        const double norm = member ? std::abs(g) : 0.0;
        p = stepped<M>(cuda::group_options(options), cuda::clip_factor_of(norm, max_norm), step, p, g, state, kept);
      }
      INFO(std::string(options.method()) << ", coupling " << std::string(to_string(coupling)) << ", member " << member);
      CHECK(p != 0.7);
      CHECK(std::abs(param.item<double>() - p) <= 1e-13);
    }
  }
}

}  // namespace

TEST_CASE("The device's constants give the steps of the CPU's optimizer") {
  int methods = 0;
  for_each_type(ElementwiseMethods(), [&]<class M>(std::type_identity<M>) {
    ++methods;
    check_same_as_optimizer(OptionsOf<M>(1e-2));
  });
  CHECK(methods >= 23);
  check_same_as_optimizer(AdamOptions(1e-2).beta1(0.8).beta2(0.95).eps(1e-3));
  check_same_as_optimizer(SGDOptions(1e-2).momentum(0.9).dampening(0.3));
  check_same_as_optimizer(SGDOptions(1e-2).momentum(0.9).nesterov(true));
  check_same_as_optimizer(SignumOptions(1e-2).momentum(0.6));
  check_same_as_optimizer(AdEMAMixOptions(1e-2).alpha(5).alpha_warmup(20).beta3_warmup(30));
}

TEST_CASE("What the kernels do not have, they say so") {
  CHECK(cuda::known_method(AdamWOptions().cautious(true)));
  CHECK(cuda::group_options(AdamWOptions().update_rms(0.2)).modified());
  CHECK(cuda::known_method(AdamWOptions().qk_clip(100.0)));
  CHECK(message_of([&] { cuda::group_options(KronOptions()); }) == "method kron has no CUDA kernel");
}

TEST_CASE("The clip factor") {
  CHECK(cuda::clip_factor_of(4.0, 1.0) == 1.0 / (4.0 + 1e-6));
  CHECK(cuda::clip_factor_of(0.5, 1.0) == 1.0);
  CHECK(cuda::clip_factor_of(4.0, 0.0) == 1.0);
  CHECK(cuda::clip_factor_of(std::numeric_limits<double>::infinity(), 1.0) == 0.0);
  CHECK(cuda::clip_factor_of(std::nan(""), 1.0) == 1.0);
}

TEST_CASE("Without CUDA one line says so") {
  CHECK_FALSE(cuda::handles(torch::ones({2}), AdamWOptions()));
  if (cuda::available()) {
    CHECK(cuda::why_unavailable().empty());
    return;
  }
  std::string message;
  try {
    cuda::CudaStep step;
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  CHECK(message == cuda::why_unavailable());
  CHECK_FALSE(message.empty());
  CHECK(message.find('\n') == std::string::npos);
#if !defined(SCALEVEC_CUDA)
  CHECK(message.find("SCALEVEC_CUDA=ON") != std::string::npos);
#endif
}
