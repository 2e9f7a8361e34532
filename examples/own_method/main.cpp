// Tiger (Su, https://kexue.fm/archives/9512), a method that the library has not: in a policy, traced, then tested.
#include <torch/torch.h>

#include <cstdio>
#include <scalevec/optim.hpp>
#include <scalevec/testing.hpp>

struct Tiger {
  static constexpr const char* kName = "tiger";
  static constexpr const char* kSource = "https://kexue.fm/archives/9512";
  static constexpr scalevec::MethodDefaults kDefaults{1e-3, 0.01, scalevec::DecayCoupling::lr};
  SCALEVEC_OPTIONS((double, beta, 0.965, kFraction, "decay of the mean of the gradient; the author's"))
  static constexpr std::array kState{"exp_avg"};

  template <class T>
  struct Constants {
    T lr, one_minus_beta;
  };
  static Constants<double> constants(const Values& o, const auto& step) { return {step.lr, 1 - o.beta}; }

  template <class T>
  static T update(const Constants<T>& c, T, T g, T& m) {
    m += c.one_minus_beta * (g - m);
    return c.lr * T((m > 0) - (m < 0));
  }
};

int main() {
  scalevec::register_method<Tiger>();
  const torch::Tensor w = torch::full({3, 4}, 2.0).requires_grad_(true);
  const auto policy = scalevec::RolePolicy::from_json(R"({"lr": 0.5, "rules": [{"match": {}, "method": "tiger"}]})");
  const auto optimizer = scalevec::make_optimizer({{"w", w, {}}}, policy);
  optimizer->trace_next_step();
  w.square().sum().backward();
  optimizer->step();
  std::printf("w %.2f, |update| %.3f\n", w[0][0].item<double>(), optimizer->traces()[0].update_norm);
  for (const std::string& failure : scalevec::check_method<Tiger>()) std::printf("%s\n", failure.c_str());
}
