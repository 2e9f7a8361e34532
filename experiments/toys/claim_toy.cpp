#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "experiments/claims/levels.hpp"
#include "experiments/toys/toys.hpp"
#include "optim/config/json_reader.hpp"
#include "optim/role_policy.hpp"

// The toy level: a noisy quadratic in θ, reached through matrices and scale vectors, trained by the library's
// optimizers.
namespace scalevec::experiments {
namespace {

using nlohmann::json;
using torch::Tensor;

// ½ Σ_ij h_ij (θ_ij − R_ij)² + σ Σ_ij n_ij θ_ij, n fresh at every step, for many replicas side by side. h and R vary
// over columns and rows by so many decades and natural logarithms; R is normal with standard deviation `target`.
struct Problem {
  std::int64_t rows, columns, steps, replicas;
  double target, curvature_decades, row_spread, noise, init_std, decay;
  bool cosine;
  std::vector<double> lrs;
  std::string words;
};

// How θ is made of W: W, W diag(γ), two halves of the rows with a γ each, diag(u) W diag(v), γ as OR; or, of an
// output-norm scale, θ = γ alone, one row.
struct Variant {
  std::string scale;
  double decay, decay_target, lr_mult;
  std::string words;
};

Problem read_problem(const json& value) {
  JsonReader in(value, "toy.problem");
  Problem p;
  p.rows = in.integer("rows", 8, Range::between(1, 4096));
  p.columns = in.integer("columns", 16, Range::between(1, 4096));
  p.steps = in.integer("steps", 1000, Range::between(8, 1e6));
  p.replicas = in.integer("replicas", 32, Range::between(4, 65536));
  p.target = in.number("target", 1.0, Range::above(0.0));
  p.curvature_decades = in.number("curvature_decades", 0.0, Range::at_least(0.0));
  p.row_spread = in.number("row_spread", 0.0, Range::at_least(0.0));
  p.noise = in.number("noise", 1.0, Range::at_least(0.0));
  p.init_std = in.number("init_std", 0.0, Range::at_least(0.0));
  p.decay = in.number("decay", 0.1, Range::at_least(0.0));
  p.cosine = in.choice("schedule", "cosine", {"cosine", "constant"}) == "cosine";
  for (const json& lr : in.value("lrs")) p.lrs.push_back(lr.get<double>());
  if (p.lrs.size() < 3) in.fail("lrs", "at least three learning rates");
  p.words = in.string("words");
  in.finish();
  return p;
}

Variant read_variant(const json& value, const char* path) {
  JsonReader in(value, path);
  Variant v;
  v.scale = in.choice("scale", {"none", "input", "branches", "both", "or", "output"});
  v.decay = in.number("decay", 0.0, Range::at_least(0.0));
  v.decay_target = in.number("decay_target", 0.0, Range::between(0, 1));
  v.lr_mult = in.number("lr_mult", 1.0, Range::above(0.0));
  v.words = in.string("words");
  in.finish();
  return v;
}

class Toy {
 public:
  Toy(const Problem& problem, const Variant& variant) : p_(problem), v_(variant) {
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(std::uint64_t{1});
    const std::vector<std::int64_t> shape{p_.replicas, p_.rows, p_.columns};
    target_ = at::normal(0.0, p_.target, shape, generator, torch::kFloat64);
    target_ = target_ *
              torch::exp(p_.row_spread * at::normal(0.0, 1.0, {p_.replicas, p_.rows, 1}, generator, torch::kFloat64));
    curvature_ = torch::pow(10.0, -p_.curvature_decades * torch::linspace(0.0, 1.0, p_.columns, torch::kFloat64));
    w_ = add("w",
             p_.init_std > 0.0 ? at::normal(0.0, p_.init_std, shape, generator, torch::kFloat64)
                               : torch::zeros(shape, torch::kFloat64),
             ParamKind::matrix, NormClass::none);
    if (v_.scale == "output") params_.clear();
    const std::int64_t rows = v_.scale == "branches" ? 2 : 1;
    if (v_.scale != "none")
      add("gamma", torch::ones({p_.replicas, v_.scale == "output" ? p_.rows : rows, p_.columns}, torch::kFloat64),
          ParamKind::scale, v_.scale == "output" ? NormClass::output : NormClass::input);
    if (v_.scale == "both")
      add("u", torch::ones({p_.replicas, p_.rows, 1}, torch::kFloat64), ParamKind::scale, NormClass::input);
    if (v_.scale == "or")
      add("beta", torch::ones({p_.replicas, 1, 1}, torch::kFloat64), ParamKind::scale, NormClass::input);
  }

  // Mean excess loss per replica over the end of the run.
  Tensor train(double lr) {
    json scale_rule{{"match", {{"kind", "scale"}}},
                    {"weight_decay", v_.decay},
                    {"decay_target", v_.decay_target},
                    {"lr_mult", v_.lr_mult}};
    const json policy{{"lr", lr},
                      {"rules", {{{"match", {{"kind", "matrix"}}}, {"weight_decay", p_.decay}}, scale_rule}}};
    const auto optimizer = make_optimizer(params_, RolePolicy::from_json(policy.dump(), "toy"));
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(std::uint64_t{2});
    Tensor sum = torch::zeros({p_.replicas}, torch::kFloat64);
    std::int64_t counted = 0;
    for (std::int64_t t = 0; t < p_.steps; ++t) {
      if (p_.cosine)
        optimizer->set_lr_factor(0.5 * (1.0 + std::cos(M_PI * static_cast<double>(t) / static_cast<double>(p_.steps))));
      optimizer->zero_grad();
      const Tensor theta = this->theta();
      const Tensor noise = at::normal(0.0, p_.noise, target_.sizes(), generator, torch::kFloat64);
      ((0.5 * curvature_ * (theta - target_).square()).sum() + (noise * theta).sum()).backward();
      try {
        optimizer->step();
      } catch (const NonFiniteGradient&) {
        return torch::full({p_.replicas}, INFINITY, torch::kFloat64);
      }
      const bool counts = p_.cosine ? t + 1 == p_.steps : 4 * t >= 3 * p_.steps && t % 8 == 0;
      if (!counts) continue;
      const torch::NoGradGuard no_grad;
      sum += (0.5 * curvature_ * (this->theta() - target_).square()).mean({1, 2});
      ++counted;
    }
    return sum / static_cast<double>(counted);
  }

 private:
  Tensor add(const std::string& name, Tensor value, ParamKind kind, NormClass norm_class) {
    value.set_requires_grad(true);
    ParamRole role;
    role.kind = kind;
    role.norm_class = norm_class;
    role.site = "toy";
    if (kind == ParamKind::scale) {
      role.side = norm_class == NormClass::input ? ScaleSide::before : ScaleSide::after;
      role.part = ScalePart::value;
    }
    params_.push_back({name, value, role});
    return value;
  }

  Tensor param(const std::string& name) const {
    for (const NamedParam& p : params_)
      if (p.name == name) return p.tensor;
    return {};
  }

  Tensor theta() const {
    const Tensor gamma = param("gamma");
    if (v_.scale == "none") return w_;
    if (v_.scale == "output") return gamma;
    if (v_.scale == "branches") return w_ * gamma.repeat_interleave((p_.rows + 1) / 2, 1).narrow(1, 0, p_.rows);
    if (v_.scale == "both") return param("u") * w_ * gamma;
    if (v_.scale == "or")
      return w_ * (param("beta") * std::sqrt(static_cast<double>(p_.columns)) * gamma / gamma.norm(2, {2}, true));
    return w_ * gamma;
  }

  const Problem& p_;
  const Variant& v_;
  Tensor target_, curvature_, w_;
  std::vector<NamedParam> params_;
};

struct Swept {
  std::vector<Tensor> losses;  // per lr, per replica
  std::vector<double> tuning;  // mean over the first half
  size_t best = 0;
};

Swept sweep(const Problem& p, const Variant& v) {
  Swept out;
  for (const double lr : p.lrs) {
    Toy toy(p, v);
    out.losses.push_back(toy.train(lr));
    out.tuning.push_back(out.losses.back().narrow(0, 0, p.replicas / 2).mean().item<double>());
    if (!(out.tuning.back() >= out.tuning[out.best])) out.best = out.tuning.size() - 1;
  }
  return out;
}

json finite(const std::vector<double>& values) {
  json out = json::array();
  for (const double x : values) out.push_back(std::isfinite(x) ? json(x) : json());
  return out;
}

}  // namespace

json run_claim_toy(const ToyClaim& toy) {
  const Problem p = read_problem(toy.problem);
  const Variant worse = read_variant(toy.worse, "toy.worse"), better = read_variant(toy.better, "toy.better");
  torch::set_num_threads(1);
  const Swept a = sweep(p, worse), b = sweep(p, better);
  const std::int64_t half = p.replicas / 2;
  const Tensor gains = torch::log(a.losses[a.best] / b.losses[b.best]).narrow(0, half, p.replicas - half).contiguous();
  std::vector<double> list(gains.const_data_ptr<double>(), gains.const_data_ptr<double>() + gains.numel());
  return {{"lrs", p.lrs},
          {"worse", finite(a.tuning)},
          {"better", finite(b.tuning)},
          {"worse_lr", p.lrs[a.best]},
          {"better_lr", p.lrs[b.best]},
          {"gains", finite(list)},
          {"words", p.words + " Worse by the claim: " + worse.words + "; better: " + better.words + "."}};
}

}  // namespace scalevec::experiments
