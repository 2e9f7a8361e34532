#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "tests/support/reference_optimizers.hpp"

// The elementwise methods in plain double loops, each as its paper or torch.optim's Python has it, by their names and
// options. They share no code with the library.
namespace reference {

using Options = std::map<std::string, double>;

struct Method {
  virtual ~Method() = default;

  // What a step subtracts from p beside the decay.
  virtual Vector update(const Vector& p, const Vector& grad, const Decay& d) = 0;

  void step(Vector& p, const Vector& grad, const Decay& d) {
    const Vector u = update(p, grad, d);
    for (std::size_t i = 0; i < p.size(); ++i) p[i] = d.parameter(p[i]) - u[i];
  }
};

// A quotient that is 0 where the divisor is.
inline double over(double x, double y) { return y == 0 ? 0.0 : x / y; }

// Most methods: the step of an element from its gradient, with the numbers that it keeps in `s`, zero at first.
class ByElement : public Method {
 public:
  Vector update(const Vector& p, const Vector& grad, const Decay& d) override {
    state_.resize(p.size());
    ++t;
    lr = d.lr;
    begin();
    Vector u(p.size());
    for (std::size_t i = 0; i < p.size(); ++i) u[i] = element(p[i], d.gradient(p[i], grad[i]), state_[i].s);
    return u;
  }

 protected:
  virtual void begin() {}  // of every step
  virtual double element(double p, double g, double (&s)[4]) = 0;

  int t = 0;  // of the step being made, from 1
  double lr = 0;

 private:
  struct State {
    double s[4] = {0, 0, 0, 0};
  };
  std::vector<State> state_;
};

struct AdamElement : ByElement {  // torch.optim.AdamW
  explicit AdamElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    s[0] = o["beta1"] * s[0] + (1 - o["beta1"]) * g;
    s[1] = o["beta2"] * s[1] + (1 - o["beta2"]) * g * g;
    s[2] = std::max(s[2], s[1]);
    const double v = o["amsgrad"] != 0 ? s[2] : s[1];
    return lr * over(s[0] / (1 - std::pow(o["beta1"], t)), std::sqrt(v / (1 - std::pow(o["beta2"], t))) + o["eps"]);
  }
};

struct SgdElement : ByElement {  // torch.optim.SGD
  explicit SgdElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    if (o["momentum"] == 0) return lr * g;
    s[0] = t == 1 ? g : o["momentum"] * s[0] + (1 - o["dampening"]) * g;
    return lr * (o["nesterov"] != 0 ? g + o["momentum"] * s[0] : s[0]);
  }
};

struct SignumElement : ByElement {  // arXiv 1802.04434
  explicit SignumElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    s[0] = o["momentum"] * s[0] + (1 - o["momentum"]) * g;
    return lr * sign(s[0]);
  }
};

struct LionElement : ByElement {  // arXiv 2302.06675, Algorithm 2
  explicit LionElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    const double c = o["beta1"] * s[0] + (1 - o["beta1"]) * g;
    s[0] = o["beta2"] * s[0] + (1 - o["beta2"]) * g;
    return lr * sign(c);
  }
};

struct AdEMAMixElement : ByElement {  // arXiv 2409.03137, Algorithm 1, warm-ups by its equations
  explicit AdEMAMixElement(Options o) : o(std::move(o)) {}
  Options o;
  double a = 0, b3 = 0;
  void begin() override {
    a = o["alpha"];
    if (t < o["alpha_warmup"]) a *= t / o["alpha_warmup"];
    b3 = o["beta3"];
    if (t < o["beta3_warmup"]) {
      const double x = t / o["beta3_warmup"], from = std::log(o["beta1"]), to = std::log(o["beta3"]);
      // The limits of ln β₁·ln β₃/((1 − x) ln β₃ + x ln β₁) where one of them is 0.
      b3 = o["beta1"] == 0   ? std::exp(to / x)
           : o["beta3"] == 0 ? std::exp(from / (1 - x))
                             : std::exp(from * to / ((1 - x) * to + x * from));
    }
  }
  double element(double, double g, double (&s)[4]) override {
    s[0] = o["beta1"] * s[0] + (1 - o["beta1"]) * g;
    s[1] = b3 * s[1] + (1 - b3) * g;
    s[2] = o["beta2"] * s[2] + (1 - o["beta2"]) * g * g;
    const double fast = s[0] / (1 - std::pow(o["beta1"], t));
    return lr * over(fast + a * s[1], std::sqrt(s[2] / (1 - std::pow(o["beta2"], t))) + o["eps"]);
  }
};

struct NAdamElement : ByElement {  // torch.optim.NAdam
  explicit NAdamElement(Options o) : o(std::move(o)) {}
  Options o;
  double mu = 0, mu_next = 0, mu_product = 1;
  void begin() override {
    mu = o["beta1"] * (1 - 0.5 * std::pow(0.96, t * o["momentum_decay"]));
    mu_next = o["beta1"] * (1 - 0.5 * std::pow(0.96, (t + 1) * o["momentum_decay"]));
    mu_product *= mu;
  }
  double element(double, double g, double (&s)[4]) override {
    s[0] = o["beta1"] * s[0] + (1 - o["beta1"]) * g;
    s[1] = o["beta2"] * s[1] + (1 - o["beta2"]) * g * g;
    const double denom = std::sqrt(s[1] / (1 - std::pow(o["beta2"], t))) + o["eps"];
    return lr * (1 - mu) / (1 - mu_product) * over(g, denom) +
           lr * mu_next / (1 - mu_product * mu_next) * over(s[0], denom);
  }
};

struct RAdamElement : ByElement {  // arXiv 1908.03265, Algorithm 2, with torch.optim.RAdam's 5 and ε
  explicit RAdamElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    const double b2t = std::pow(o["beta2"], t);
    s[0] = o["beta1"] * s[0] + (1 - o["beta1"]) * g;
    s[1] = o["beta2"] * s[1] + (1 - o["beta2"]) * g * g;
    const double m_hat = s[0] / (1 - std::pow(o["beta1"], t));
    const double rho_inf = 2 / (1 - o["beta2"]) - 1, rho = rho_inf - 2 * t * b2t / (1 - b2t);
    if (rho <= 5) return lr * m_hat;
    const double rect = std::sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho));
    return lr * m_hat * rect * over(std::sqrt(1 - b2t), std::sqrt(s[1]) + o["eps"]);
  }
};

struct AdamaxElement : ByElement {  // arXiv 1412.6980, Algorithm 2, with torch.optim.Adamax's ε
  explicit AdamaxElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    s[0] = o["beta1"] * s[0] + (1 - o["beta1"]) * g;
    s[1] = std::max(o["beta2"] * s[1], std::abs(g) + o["eps"]);
    return over(lr / (1 - std::pow(o["beta1"], t)) * s[0], s[1]);
  }
};

struct AdagradElement : ByElement {  // torch.optim.Adagrad
  explicit AdagradElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    if (t == 1) s[0] = o["initial_accumulator_value"];
    s[0] += g * g;
    return over(lr / (1 + (t - 1) * o["lr_decay"]) * g, std::sqrt(s[0]) + o["eps"]);
  }
};

struct RMSpropElement : ByElement {  // torch.optim.RMSprop
  explicit RMSpropElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    s[0] = o["alpha"] * s[0] + (1 - o["alpha"]) * g * g;
    s[1] = o["alpha"] * s[1] + (1 - o["alpha"]) * g;
    const double mean_square = o["centered"] != 0 ? std::max(0.0, s[0] - s[1] * s[1]) : s[0];
    s[2] = o["momentum"] * s[2] + over(g, std::sqrt(mean_square) + o["eps"]);
    return lr * s[2];
  }
};

struct AdadeltaElement : ByElement {  // arXiv 1212.5701, Algorithm 1
  explicit AdadeltaElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    s[0] = o["rho"] * s[0] + (1 - o["rho"]) * g * g;
    const double delta = over(std::sqrt(s[1] + o["eps"]), std::sqrt(s[0] + o["eps"])) * g;
    s[1] = o["rho"] * s[1] + (1 - o["rho"]) * delta * delta;
    return lr * delta;
  }
};

struct RpropElement : ByElement {  // torch.optim.Rprop
  explicit RpropElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    if (t == 1) s[1] = lr;
    double now = g;
    if (s[0] * g > 0) s[1] *= o["etaplus"];
    if (s[0] * g < 0) {
      s[1] *= o["etaminus"];
      now = 0;
    }
    s[1] = std::min(std::max(s[1], o["step_size_min"]), o["step_size_max"]);
    s[0] = now;
    return s[1] * sign(now);
  }
};

struct AsgdElement : ByElement {  // torch.optim.ASGD, whose η is of the step's lr
  explicit AsgdElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double p, double g, double (&)[4]) override {
    const double eta = lr / std::pow(1 + o["lambd"] * lr * (t - 1), o["alpha"]);
    return p - (p * (1 - o["lambd"] * eta) - eta * g);
  }
};

struct LaPropElement : ByElement {  // arXiv 2002.04839, Algorithm 1
  explicit LaPropElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    s[1] = o["beta2"] * s[1] + (1 - o["beta2"]) * g * g;
    const double n_hat = s[1] / (1 - std::pow(o["beta2"], t));
    s[0] = o["beta1"] * s[0] + (1 - o["beta1"]) * over(g, std::sqrt(n_hat) + o["eps"]);
    return lr * s[0] / (1 - std::pow(o["beta1"], t));
  }
};

struct AdoptElement : ByElement {  // arXiv 2411.02853, Algorithm 2, c_t = t^¼ with t = 0 at the step that sets v
  explicit AdoptElement(Options o) : o(std::move(o)) {}
  Options o;
  double element(double, double g, double (&s)[4]) override {
    if (t == 1) {
      s[1] = g * g;
      return 0;
    }
    const double most = std::pow(t - 1, 0.25), n = over(g, std::max(std::sqrt(s[1]), o["eps"]));
    s[0] = o["beta1"] * s[0] + (1 - o["beta1"]) * std::min(std::max(n, -most), most);
    s[1] = o["beta2"] * s[1] + (1 - o["beta2"]) * g * g;
    return lr * s[0];
  }
};

template <class M>
std::unique_ptr<Method> made(const Options& options) {
  return std::make_unique<M>(options);
}

inline const std::map<std::string, std::function<std::unique_ptr<Method>(const Options&)>>& methods() {
  static const std::map<std::string, std::function<std::unique_ptr<Method>(const Options&)>> all{
      {"adamw", made<AdamElement>},        {"adam", made<AdamElement>},       {"sgd", made<SgdElement>},
      {"signum", made<SignumElement>},     {"lion", made<LionElement>},       {"ademamix", made<AdEMAMixElement>},
      {"nadam", made<NAdamElement>},       {"nadamw", made<NAdamElement>},    {"radam", made<RAdamElement>},
      {"adamax", made<AdamaxElement>},     {"adagrad", made<AdagradElement>}, {"rmsprop", made<RMSpropElement>},
      {"adadelta", made<AdadeltaElement>}, {"rprop", made<RpropElement>},     {"asgd", made<AsgdElement>},
      {"laprop", made<LaPropElement>},     {"adopt", made<AdoptElement>}};
  return all;
}

}  // namespace reference
