#pragma once

#include "scalevec/optim/method_options.hpp"
#include "scalevec/optim/optimizer.hpp"

// The elementwise methods: options and optimizer class of each. Every constructor takes lr; other defaults are
// PyTorch's where PyTorch has the method. They train tensors of any shape; a mean is kept for each element, in float64
// of float64 parameters and in float32 of others. A value outside the range that stands beside an option is refused, by
// the optimizer's constructor or its next step. Formulas: docs/optimizers. Shared options: see MethodOptions.
namespace scalevec {

// Adam with decoupled decay (Loshchilov & Hutter, arXiv 1711.05101): m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g²,
// p ← p − η m̂/(√v̂ + ε), m̂ and v̂ corrected for their start at zero. State: 8 bytes per element, of float64 16.
class AdamWOptions : public MethodOptionsOf<AdamWOptions> {
 public:
  AdamWOptions(double lr = 1e-3) : AdamWOptions(lr, 1e-2, DecayCoupling::lr) {}
  std::string_view method() const override { return "adamw"; }
  const Method& implementation() const override;
  std::vector<OptionField> fields() override;

  double beta1() const { return std::get<0>(betas_); }
  double beta2() const { return std::get<1>(betas_); }
  double eps() const { return eps_; }
  AdamWOptions& beta1(double value) { return set(std::get<0>(betas_), value); }
  AdamWOptions& beta2(double value) { return set(std::get<1>(betas_), value); }
  AdamWOptions& eps(double value) { return set(eps_, value); }
  AdamWOptions& betas(std::tuple<double, double> value) { return beta1(std::get<0>(value)).beta2(std::get<1>(value)); }
  const std::tuple<double, double>& betas() const { return betas_; }
  std::tuple<double, double>& betas() { return betas_; }
  double& eps() { return eps_; }
  friend bool operator==(const AdamWOptions&, const AdamWOptions&) = default;

 protected:
  AdamWOptions(double lr, double weight_decay, DecayCoupling coupling)
      : MethodOptionsOf<AdamWOptions>(lr, weight_decay, coupling) {}

 private:
  std::tuple<double, double> betas_{0.9, 0.999};  // decays of the means of g and of g², each in [0, 1)
  double eps_ = 1e-8;                             // added to √v̂, ≥ 0; 0/0 is no update
};

// Adam (Kingma & Ba, arXiv 1412.6980): AdamW whose decay, 0 by default, is part of the gradient. State: as AdamW's.
class AdamOptions : public MethodOptionsOf<AdamOptions> {
 public:
  AdamOptions(double lr = 1e-3) : MethodOptionsOf<AdamOptions>(lr, 0.0, DecayCoupling::l2) {}
  std::string_view method() const override { return "adam"; }
  const Method& implementation() const override;
  std::vector<OptionField> fields() override;

  double beta1() const { return std::get<0>(betas_); }
  double beta2() const { return std::get<1>(betas_); }
  double eps() const { return eps_; }
  AdamOptions& beta1(double value) { return set(std::get<0>(betas_), value); }
  AdamOptions& beta2(double value) { return set(std::get<1>(betas_), value); }
  AdamOptions& eps(double value) { return set(eps_, value); }
  AdamOptions& betas(std::tuple<double, double> value) { return beta1(std::get<0>(value)).beta2(std::get<1>(value)); }
  const std::tuple<double, double>& betas() const { return betas_; }
  std::tuple<double, double>& betas() { return betas_; }
  double& eps() { return eps_; }
  friend bool operator==(const AdamOptions&, const AdamOptions&) = default;

 private:
  std::tuple<double, double> betas_{0.9, 0.999};  // as AdamW's
  double eps_ = 1e-8;                             // as AdamW's
};

// Stochastic gradient descent with momentum in PyTorch's form: b ← μb + (1 − dampening)g with b = g at the first step,
// p ← p − ηb. State: 4 bytes per element with a momentum, of float64 8; none without.
class SGDOptions : public MethodOptionsOf<SGDOptions> {
 public:
  SGDOptions(double lr = 1e-3) : MethodOptionsOf<SGDOptions>(lr, 0.0, DecayCoupling::l2) {}
  std::string_view method() const override { return "sgd"; }
  const Method& implementation() const override;
  std::vector<OptionField> fields() override;

  double momentum() const { return momentum_; }
  double dampening() const { return dampening_; }
  bool nesterov() const { return nesterov_; }
  SGDOptions& momentum(double value) { return set(momentum_, value); }
  SGDOptions& dampening(double value) { return set(dampening_, value); }
  SGDOptions& nesterov(bool value) { return set(nesterov_, value); }
  double& momentum() { return momentum_; }
  double& dampening() { return dampening_; }
  bool& nesterov() { return nesterov_; }
  friend bool operator==(const SGDOptions&, const SGDOptions&) = default;

 protected:
  std::string conflict() const override;  // Nesterov's needs a momentum and no dampening

 private:
  double momentum_ = 0.0;   // μ in [0, ∞); 0 keeps no buffer
  double dampening_ = 0.0;  // any number
  bool nesterov_ = false;   // p ← p − η(g + μb)
};

// Lion (Chen et al., arXiv 2302.06675), whose defaults these are: the sign of β₁m + (1 − β₁)g, then m ← β₂m + (1 −
// β₂)g. State: 4 bytes per element, of float64 8.
class LionOptions : public MethodOptionsOf<LionOptions> {
 public:
  LionOptions(double lr = 1e-4) : MethodOptionsOf<LionOptions>(lr, 0.0, DecayCoupling::lr) {}
  std::string_view method() const override { return "lion"; }
  const Method& implementation() const override;
  std::vector<OptionField> fields() override;

  double beta1() const { return beta1_; }
  double beta2() const { return beta2_; }
  LionOptions& beta1(double value) { return set(beta1_, value); }
  LionOptions& beta2(double value) { return set(beta2_, value); }
  friend bool operator==(const LionOptions&, const LionOptions&) = default;

 private:
  double beta1_ = 0.9;   // mix of momentum and gradient whose sign is taken, in [0, 1)
  double beta2_ = 0.99;  // decay of the momentum, in [0, 1)
};

// Signum (Bernstein et al., arXiv 1802.04434): the sign of b ← μb + (1 − μ)g; μ = 0 is signSGD. State: 4 bytes per
// element, of float64 8.
class SignumOptions : public MethodOptionsOf<SignumOptions> {
 public:
  SignumOptions(double lr = 1e-4) : MethodOptionsOf<SignumOptions>(lr, 0.0, DecayCoupling::lr) {}
  std::string_view method() const override { return "signum"; }
  const Method& implementation() const override;
  std::vector<OptionField> fields() override;

  double momentum() const { return momentum_; }
  SignumOptions& momentum(double value) { return set(momentum_, value); }
  friend bool operator==(const SignumOptions&, const SignumOptions&) = default;

 private:
  double momentum_ = 0.9;  // μ in [0, 1)
};

// AdEMAMix (Pagliardini et al., arXiv 2409.03137): AdamW with a second, slow mean of the gradient. Defaults are those
// of the authors' code. State: 12 bytes per element, of float64 24.
class AdEMAMixOptions : public MethodOptionsOf<AdEMAMixOptions> {
 public:
  AdEMAMixOptions(double lr = 1e-3) : MethodOptionsOf<AdEMAMixOptions>(lr, 0.0, DecayCoupling::lr) {}
  std::string_view method() const override { return "ademamix"; }
  const Method& implementation() const override;
  std::vector<OptionField> fields() override;

  double beta1() const { return beta1_; }
  double beta2() const { return beta2_; }
  double beta3() const { return beta3_; }
  double alpha() const { return alpha_; }
  double eps() const { return eps_; }
  std::int64_t alpha_warmup() const { return alpha_warmup_; }
  std::int64_t beta3_warmup() const { return beta3_warmup_; }
  AdEMAMixOptions& beta1(double value) { return set(beta1_, value); }
  AdEMAMixOptions& beta2(double value) { return set(beta2_, value); }
  AdEMAMixOptions& beta3(double value) { return set(beta3_, value); }
  AdEMAMixOptions& alpha(double value) { return set(alpha_, value); }
  AdEMAMixOptions& eps(double value) { return set(eps_, value); }
  AdEMAMixOptions& alpha_warmup(std::int64_t value) { return set(alpha_warmup_, value); }
  AdEMAMixOptions& beta3_warmup(std::int64_t value) { return set(beta3_warmup_, value); }
  friend bool operator==(const AdEMAMixOptions&, const AdEMAMixOptions&) = default;

 private:
  double beta1_ = 0.9;             // decay of the fast mean of g, in [0, 1)
  double beta2_ = 0.999;           // decay of the mean of g², in [0, 1)
  double beta3_ = 0.9999;          // decay of the slow mean of g, in [0, 1)
  double alpha_ = 2.0;             // weight of the slow mean, ≥ 0; the paper's own runs take 4 to 10
  double eps_ = 1e-8;              // added to √v̂, ≥ 0; 0/0 is no update
  std::int64_t alpha_warmup_ = 0;  // steps over which α rises from 0; the paper takes the whole run
  std::int64_t beta3_warmup_ = 0;  // steps over which β₃ rises from β₁; the paper takes the whole run
};

// An optimizer of one method for all its parameters; a group given with options of another method trains by that one.
// Constructors throw std::invalid_argument as Optimizer's does.
template <class Options>
class SingleMethodOptimizer : public Optimizer {
 public:
  explicit SingleMethodOptimizer(std::vector<torch::Tensor> params, Options defaults = {})
      : SingleMethodOptimizer(std::vector<torch::optim::OptimizerParamGroup>{std::move(params)}, std::move(defaults)) {}
  explicit SingleMethodOptimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups, Options defaults = {})
      : Optimizer(groups, std::make_unique<Options>(std::move(defaults))) {}
};

using AdamW = SingleMethodOptimizer<AdamWOptions>;
using Adam = SingleMethodOptimizer<AdamOptions>;
using SGD = SingleMethodOptimizer<SGDOptions>;
using Lion = SingleMethodOptimizer<LionOptions>;
using Signum = SingleMethodOptimizer<SignumOptions>;
using AdEMAMix = SingleMethodOptimizer<AdEMAMixOptions>;

}  // namespace scalevec
