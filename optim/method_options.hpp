#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <typeinfo>
#include <variant>
#include <vector>

#include "optim/core/decay.hpp"
#include "optim/core/method_traits.hpp"
#include "optim/core/option_table.hpp"

namespace scalevec {

class Method;

// A row of a method's table as data.
Option option_of(const char* name, Option::Value value, const OptionRange& range, const char* meaning);

// The lr that a group had at its first step. It belongs to the group's own object and not to the options' value: a copy
// has none, so that a clone with another lr starts at that lr.
class NotedLr {
 public:
  NotedLr() = default;
  NotedLr(const NotedLr&) noexcept {}
  NotedLr& operator=(const NotedLr&) noexcept { return *this; }
  ~NotedLr() = default;
  double value = -1.0;  // negative: not noted yet
};

// What every method's options share; a step takes their values of the moment and refuses those out of range. lr is the
// scheduled lr that torch::optim schedulers change; initial_lr (η_0 of the couplings) is what was set, else the lr
// until the group's first step or the first set_lr_factor(), and from then on the lr of that moment.
class MethodOptions : public torch::optim::OptimizerOptions {
 public:
  virtual std::string_view method() const = 0;  // "adamw", …
  virtual std::string_view source() const = 0;  // where the method's formula is from
  virtual const Method& implementation() const = 0;

  // As data: what every method has, the method's own, and both in this order.
  Options shared_fields();
  virtual Options own_fields() = 0;
  Options fields();

  // The first field out of its range as "eps: got -1; allowed: [0, inf)", or what two fields say together that the
  // method has not; empty if all are sound.
  std::string error() const;

  // The same method with the same values. Which lr a group's first step had does not count.
  virtual bool equals(const MethodOptions& other) const = 0;
  friend bool operator==(const MethodOptions& a, const MethodOptions& b) { return a.equals(b); }

  // Takes the values of options of the same method.
  virtual void assign(const MethodOptions& other) = 0;

  double get_lr() const override { return lr_; }
  void set_lr(double lr) override { lr_ = lr; }
  void serialize(torch::serialize::InputArchive& archive) override;
  void serialize(torch::serialize::OutputArchive& archive) const override;

  double lr() const { return lr_; }
  double initial_lr() const { return initial_lr_ >= 0.0 ? initial_lr_ : noted_.value >= 0.0 ? noted_.value : lr_; }
  double weight_decay() const { return weight_decay_; }
  double decay_target() const { return decay_target_; }
  DecayCoupling decay_coupling() const { return decay_coupling_; }
  bool clip() const { return clip_; }
  const std::string& rounding() const { return rounding_; }
  bool cautious() const { return cautious_; }
  bool cautious_decay() const { return cautious_decay_; }
  bool hold_norm() const { return hold_norm_; }
  bool trust_ratio() const { return trust_ratio_; }
  double update_rms() const { return update_rms_; }
  double qk_clip() const { return qk_clip_; }
  // Whether one of the first five of these changes the method's step.
  bool modified() const { return cautious_ || cautious_decay_ || hold_norm_ || trust_ratio_ || update_rms_ != 0.0; }
  void set_initial_lr(double lr) { initial_lr_ = lr; }
  void note_initial_lr() {
    if (noted_.value < 0.0) noted_.value = lr_;
  }
  double noted_lr() const { return noted_.value; }  // negative: not noted yet
  void set_noted_lr(double lr) { noted_.value = lr; }
  void set_weight_decay(double weight_decay) { weight_decay_ = weight_decay; }

 protected:
  explicit MethodOptions(double lr, double weight_decay, DecayCoupling coupling)
      : lr_(lr), weight_decay_(weight_decay), decay_coupling_(coupling) {}

  // What two fields say together that the method has not, as error() puts it; empty if nothing.
  virtual std::string conflict() const { return {}; }
  std::string modifier_conflict() const;
  bool shares(const MethodOptions& other) const;  // equal in what every method has

  double lr_;                  // η_t ≥ 0
  double initial_lr_ = -1.0;   // η_0; negative: not set
  double weight_decay_;        // λ ≥ 0
  double decay_target_ = 0.0;  // p̂, 0 or 1
  DecayCoupling decay_coupling_;
  bool clip_ = true;  // member of the global clip norm
  // How parameters of bfloat16 and float16 take their new values, computed in float32: "nearest", "stochastic" (one of
  // the two neighbours by chance, without bias) or "compensated" (to nearest, what is left kept in 2 bytes an element).
  // Parameters of float32 and float64 are rounded to nearest whatever it says.
  std::string rounding_ = "nearest";
  // What is done to the step of any method: docs/optimizers/README.md has the formulas. At most one of hold_norm,
  // trust_ratio and update_rms.
  bool cautious_ = false;        // elements whose update has not the gradient's sign stay; arXiv 2411.16085
  bool cautious_decay_ = false;  // decay only where the update leads toward the target too; arXiv 2510.12402
  bool hold_norm_ = false;       // the parameter keeps its norm, lr is the rotation per step
  bool trust_ratio_ = false;     // lr times the parameter's norm is the length of the step; arXiv 1904.00962
  double update_rms_ = 0.0;      // lr times this is the root mean square of the update; 0: the method's own
  // Of maps to queries and keys: their heads' largest attention logit is brought back to this after the step; 0: none.
  // See Optimizer::set_max_logits(); arXiv 2507.20534.
  double qk_clip_ = 0.0;
  NotedLr noted_;
};

// Fluent setters of the shared options, returning the method's own type. Derived is the method's options class, copied
// by its copy constructor and compared by its operator==.
template <class Derived>
class MethodOptionsOf : public MethodOptions {
 public:
  using MethodOptions::cautious;
  using MethodOptions::cautious_decay;
  using MethodOptions::clip;
  using MethodOptions::decay_coupling;
  using MethodOptions::decay_target;
  using MethodOptions::hold_norm;
  using MethodOptions::initial_lr;
  using MethodOptions::lr;
  using MethodOptions::qk_clip;
  using MethodOptions::rounding;
  using MethodOptions::trust_ratio;
  using MethodOptions::update_rms;
  using MethodOptions::weight_decay;

  // As torch::optim's options have them: `options.lr() = 1e-3`.
  double& lr() { return lr_; }
  double& weight_decay() { return weight_decay_; }

  Derived& lr(double value) { return set(lr_, value); }
  Derived& initial_lr(double value) { return set(initial_lr_, value); }
  Derived& weight_decay(double value) { return set(weight_decay_, value); }
  Derived& decay_target(double value) { return set(decay_target_, value); }
  Derived& decay_coupling(DecayCoupling value) { return set(decay_coupling_, value); }
  Derived& clip(bool value) { return set(clip_, value); }
  Derived& rounding(std::string value) { return set(rounding_, std::move(value)); }
  Derived& cautious(bool value) { return set(cautious_, value); }
  Derived& cautious_decay(bool value) { return set(cautious_decay_, value); }
  Derived& hold_norm(bool value) { return set(hold_norm_, value); }
  Derived& trust_ratio(bool value) { return set(trust_ratio_, value); }
  Derived& update_rms(double value) { return set(update_rms_, value); }
  Derived& qk_clip(double value) { return set(qk_clip_, value); }

  std::unique_ptr<torch::optim::OptimizerOptions> clone() const override {
    return std::make_unique<Derived>(static_cast<const Derived&>(*this));
  }
  bool equals(const MethodOptions& other) const override {
    const auto* same = dynamic_cast<const Derived*>(&other);
    return same && static_cast<const Derived&>(*this) == *same;
  }
  void assign(const MethodOptions& other) override {
    static_cast<Derived&>(*this) = dynamic_cast<const Derived&>(other);
  }
  friend bool operator==(const MethodOptionsOf& a, const MethodOptionsOf& b) { return a.shares(b); }

 protected:
  using MethodOptions::MethodOptions;

  template <class T>
  Derived& set(T& field, T value) {
    field = std::move(value);
    return static_cast<Derived&>(*this);
  }
};

// The one instance of a method: of the library's in methods.cpp, of a program's own by register_method().
template <class M>
const Method& implementation_of();

// std::tuple's two references, assigned from values.
struct Betas : std::tuple<double&, double&> {
  using std::tuple<double&, double&>::tuple;
  Betas& operator=(const std::tuple<double, double>& values) {
    std::get<0>(*this) = std::get<0>(values);
    std::get<1>(*this) = std::get<1>(values);
    return *this;
  }
};

template <class M, class Derived>
class ValuesOf : public MethodOptionsOf<Derived> {
 public:
  const typename M::Values& values() const { return values_; }

 protected:
  using MethodOptionsOf<Derived>::MethodOptionsOf;
  typename M::Values values_;
};

// The options of method M: those that every method has and its own, by M's table, each as `o.name()` to read,
// `o.name() = x` and `o.name(x)` to write. betas() are beta1 and beta2 together.
template <class M>
class OptionsOf : public M::template Setters<OptionsOf<M>, ValuesOf<M, OptionsOf<M>>> {
  static constexpr bool kBetas = requires(typename M::Values v) {
    v.beta1;
    v.beta2;
  };

 public:
  OptionsOf(double lr = M::kDefaults.lr)
      : M::template Setters<OptionsOf<M>, ValuesOf<M, OptionsOf<M>>>(lr, M::kDefaults.weight_decay,
                                                                     M::kDefaults.coupling) {}
  std::string_view method() const override { return M::kName; }
  std::string_view source() const override { return M::kSource; }
  const Method& implementation() const override { return implementation_of<M>(); }
  Options own_fields() override {
    return std::apply(
        [&](const auto&... row) {
          return Options{option_of(row.name, &(this->values_.*row.member), row.range, row.meaning)...};
        },
        M::Values::table());
  }

  std::tuple<double, double> betas() const requires kBetas { return {this->values_.beta1, this->values_.beta2}; }
  Betas betas() requires kBetas { return {this->values_.beta1, this->values_.beta2}; }
  OptionsOf& betas(std::tuple<double, double> value) requires kBetas {
    betas() = value;
    return *this;
  }

  friend bool operator==(const OptionsOf& a, const OptionsOf& b) { return a.shares(b) && a.values_ == b.values_; }

 protected:
  std::string conflict() const override {
    if constexpr (requires { M::conflict(this->values_); })
      return M::conflict(this->values_);
    else
      return {};
  }
};

// What a rule of a policy may say: all but lr, which comes from the policy and its multiplier, and initial_lr.
Options rule_fields(MethodOptions& options);

// The options of the method of that name with its defaults (weight decay 0); null for an unknown name.
std::unique_ptr<MethodOptions> make_method_options(std::string_view method);
std::vector<std::string> method_names();

namespace detail {
using MakeOptions = std::unique_ptr<MethodOptions> (*)();
void add_method(std::string_view name, const std::type_info& type, MakeOptions make);  // see register_method()
}  // namespace detail

}  // namespace scalevec
