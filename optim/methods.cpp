#include "scalevec/optim/methods.hpp"

#include <cmath>
#include <limits>

#include "scalevec/optim/matrix_methods.hpp"
#include "scalevec/optim/method.hpp"

namespace scalevec {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

template <class Options>
class AdamMethod : public ElementwiseMethod {
 public:
  bool adaptive() const override { return true; }
  std::vector<std::string> buffers(const MethodOptions&) const override { return {"exp_avg", "exp_avg_sq"}; }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step,
                     bool) const override {
    const auto& o = static_cast<const Options&>(options);
    return rules::AdamW<double>::at_step(decay, o.lr(), o.beta1(), o.beta2(), o.eps(), static_cast<double>(step));
  }
};

class SgdMethod : public ElementwiseMethod {
 public:
  std::vector<std::string> buffers(const MethodOptions&) const override { return {"momentum_buffer"}; }
  bool needs(const MethodOptions& options, std::string_view) const override {
    return static_cast<const SGDOptions&>(options).momentum() != 0.0;
  }
  bool buffers_may_change() const override { return true; }
  bool same_buffers(const MethodOptions& a, const MethodOptions& b) const override {
    return needs(a, {}) == needs(b, {});
  }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step,
                     bool fresh) const override {
    const auto& o = static_cast<const SGDOptions&>(options);
    const bool plain = o.momentum() == 0.0;
    const double one_minus_dampening = plain || step == 1 || fresh ? 1.0 : 1.0 - o.dampening();
    return rules::Sgd<double>{decay, o.lr(), o.momentum(), one_minus_dampening, o.nesterov() && !plain ? 1.0 : 0.0};
  }
};

class LionMethod : public ElementwiseMethod {
 public:
  std::vector<std::string> buffers(const MethodOptions&) const override { return {"exp_avg"}; }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t,
                     bool) const override {
    const auto& o = static_cast<const LionOptions&>(options);
    return rules::Lion<double>{decay, o.lr(), 1.0 - o.beta1(), 1.0 - o.beta2()};
  }
};

class SignumMethod : public ElementwiseMethod {
 public:
  std::vector<std::string> buffers(const MethodOptions&) const override { return {"momentum_buffer"}; }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t,
                     bool) const override {
    const auto& o = static_cast<const SignumOptions&>(options);
    return rules::Signum<double>{decay, o.lr(), 1.0 - o.momentum()};
  }
};

class AdEMAMixMethod : public ElementwiseMethod {
 public:
  bool adaptive() const override { return true; }
  std::vector<std::string> buffers(const MethodOptions&) const override {
    return {"exp_avg_fast", "exp_avg_slow", "exp_avg_sq"};
  }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step,
                     bool) const override {
    const auto& o = static_cast<const AdEMAMixOptions&>(options);
    return rules::AdEMAMix<double>::at_step(decay, o.lr(), o.beta1(), o.beta2(), o.beta3(), o.alpha(),
                                            static_cast<double>(o.alpha_warmup()),
                                            static_cast<double>(o.beta3_warmup()), o.eps(), static_cast<double>(step));
  }
};

template <class Options>
std::vector<OptionField> with_adam_fields(std::vector<OptionField> fields, double* beta1, double* beta2, double* eps) {
  fields.push_back(fraction("beta1", beta1));
  fields.push_back(fraction("beta2", beta2));
  fields.push_back(nonnegative("eps", eps));
  return fields;
}

}  // namespace

const Method& AdamWOptions::implementation() const { return method_instance<AdamMethod<AdamWOptions>>(); }
const Method& AdamOptions::implementation() const { return method_instance<AdamMethod<AdamOptions>>(); }
const Method& SGDOptions::implementation() const { return method_instance<SgdMethod>(); }
const Method& LionOptions::implementation() const { return method_instance<LionMethod>(); }
const Method& SignumOptions::implementation() const { return method_instance<SignumMethod>(); }
const Method& AdEMAMixOptions::implementation() const { return method_instance<AdEMAMixMethod>(); }

std::vector<OptionField> AdamWOptions::fields() {
  return with_adam_fields<AdamWOptions>(MethodOptions::fields(), &std::get<0>(betas_), &std::get<1>(betas_), &eps_);
}

std::vector<OptionField> AdamOptions::fields() {
  return with_adam_fields<AdamOptions>(MethodOptions::fields(), &std::get<0>(betas_), &std::get<1>(betas_), &eps_);
}

std::vector<OptionField> SGDOptions::fields() {
  auto fields = MethodOptions::fields();
  fields.push_back(nonnegative("momentum", &momentum_));
  fields.push_back({"dampening", &dampening_, -kNoLimit, kNoLimit, false, {}});
  fields.push_back({"nesterov", &nesterov_, 0, 0, false, {}});
  return fields;
}

std::string SGDOptions::conflict() const {
  if (!nesterov_ || (momentum_ > 0.0 && dampening_ == 0.0)) return {};
  return "nesterov: got true with momentum " + std::to_string(momentum_) + " and dampening " +
         std::to_string(dampening_) + "; allowed: with momentum above 0 and dampening 0";
}

std::vector<OptionField> LionOptions::fields() {
  auto fields = MethodOptions::fields();
  fields.push_back(fraction("beta1", &beta1_));
  fields.push_back(fraction("beta2", &beta2_));
  return fields;
}

std::vector<OptionField> SignumOptions::fields() {
  auto fields = MethodOptions::fields();
  fields.push_back(fraction("momentum", &momentum_));
  return fields;
}

std::vector<OptionField> AdEMAMixOptions::fields() {
  auto fields = with_adam_fields<AdEMAMixOptions>(MethodOptions::fields(), &beta1_, &beta2_, &eps_);
  fields.push_back(fraction("beta3", &beta3_));
  fields.push_back(nonnegative("alpha", &alpha_));
  fields.push_back({"alpha_warmup", &alpha_warmup_, 0.0, kNoLimit, false, {}});
  fields.push_back({"beta3_warmup", &beta3_warmup_, 0.0, kNoLimit, false, {}});
  return fields;
}

std::unique_ptr<MethodOptions> make_method_options(std::string_view method) {
  std::unique_ptr<MethodOptions> options;
  if (method == "adamw") options = std::make_unique<AdamWOptions>();
  if (method == "adam") options = std::make_unique<AdamOptions>();
  if (method == "sgd") options = std::make_unique<SGDOptions>();
  if (method == "lion") options = std::make_unique<LionOptions>();
  if (method == "signum") options = std::make_unique<SignumOptions>();
  if (method == "ademamix") options = std::make_unique<AdEMAMixOptions>();
  if (method == "muon") options = std::make_unique<MuonOptions>();
  if (method == "normuon") options = std::make_unique<NorMuonOptions>();
  if (method == "soap") options = std::make_unique<SOAPOptions>();
  if (options) options->set_weight_decay(0.0);
  return options;
}

std::vector<std::string> method_names() {
  return {"adamw", "adam", "sgd", "lion", "signum", "ademamix", "muon", "normuon", "soap"};
}

}  // namespace scalevec
