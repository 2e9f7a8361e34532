#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "scalevec/optim/core/decay.hpp"

namespace scalevec {

class Method;

// One option as data: what a policy's JSON, the saved state and the printed tables read and write.
struct OptionField {
  const char* name;
  std::variant<double*, bool*, std::int64_t*, DecayCoupling*, std::string*> value;
  double low = 0.0;  // numbers: allowed range
  double high = 0.0;
  bool high_open = false;
  std::vector<std::string> choices;  // strings: allowed words
};

// What every method's options share. lr is the scheduled lr that torch::optim schedulers change; initial_lr (η_0 of the
// couplings) is the lr when the optimizer first sees the group, unless set.
class MethodOptions : public torch::optim::OptimizerOptions {
 public:
  virtual std::string_view method() const = 0;  // "adamw", …
  virtual const Method& implementation() const = 0;
  virtual std::vector<OptionField> fields();  // the shared ones first

  // The first field out of its range as "eps: got -1; allowed: [0, inf)"; empty if all are sound.
  std::string error() const;

  double get_lr() const override { return lr_; }
  void set_lr(double lr) override { lr_ = lr; }
  void serialize(torch::serialize::InputArchive& archive) override;
  void serialize(torch::serialize::OutputArchive& archive) const override;

  double lr() const { return lr_; }
  double initial_lr() const { return initial_lr_; }
  double weight_decay() const { return weight_decay_; }
  double decay_target() const { return decay_target_; }
  DecayCoupling decay_coupling() const { return decay_coupling_; }
  bool clip() const { return clip_; }
  void set_initial_lr(double lr) { initial_lr_ = lr; }
  void set_weight_decay(double weight_decay) { weight_decay_ = weight_decay; }

 protected:
  explicit MethodOptions(double lr, double weight_decay, DecayCoupling coupling)
      : lr_(lr), weight_decay_(weight_decay), decay_coupling_(coupling) {}

  double lr_;
  double initial_lr_ = -1.0;  // negative: not captured yet
  double weight_decay_;
  double decay_target_ = 0.0;  // p̂, 0 or 1
  DecayCoupling decay_coupling_;
  bool clip_ = true;  // member of the global clip norm
};

// Fluent setters of the shared options, returning the method's own type.
template <class Derived>
class MethodOptionsOf : public MethodOptions {
 public:
  using MethodOptions::clip;
  using MethodOptions::decay_coupling;
  using MethodOptions::decay_target;
  using MethodOptions::initial_lr;
  using MethodOptions::lr;
  using MethodOptions::weight_decay;

  Derived& lr(double value) { return set(lr_, value); }
  Derived& initial_lr(double value) { return set(initial_lr_, value); }
  Derived& weight_decay(double value) { return set(weight_decay_, value); }
  Derived& decay_target(double value) { return set(decay_target_, value); }
  Derived& decay_coupling(DecayCoupling value) { return set(decay_coupling_, value); }
  Derived& clip(bool value) { return set(clip_, value); }

  std::unique_ptr<torch::optim::OptimizerOptions> clone() const override {
    return std::make_unique<Derived>(static_cast<const Derived&>(*this));
  }

 protected:
  using MethodOptions::MethodOptions;

  template <class T>
  Derived& set(T& field, T value) {
    field = std::move(value);
    return static_cast<Derived&>(*this);
  }
};

// The options of the method of that name with its defaults (weight decay 0); null for an unknown name.
std::unique_ptr<MethodOptions> make_method_options(std::string_view method);
std::vector<std::string> method_names();

}  // namespace scalevec
