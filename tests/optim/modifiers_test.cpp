#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"
#include "tests/support/random_methods.hpp"

// cautious, cautious_decay, hold_norm, trust_ratio and update_rms against their papers' formulas in plain double loops.
namespace {

using namespace scalevec;
using namespace scalevec::random_methods;
using reference::Vector;
using torch::Tensor;
using Groups = std::vector<torch::optim::OptimizerParamGroup>;

struct Modifiers {
  bool cautious = false, cautious_decay = false, hold_norm = false, trust_ratio = false;
  double update_rms = 0.0;

  std::string text() const {
    return std::string(cautious ? " cautious" : "") + (cautious_decay ? " cautious_decay" : "") +
           (hold_norm ? " hold_norm" : "") + (trust_ratio ? " trust_ratio" : "") +
           (update_rms > 0 ? " update_rms " + std::to_string(update_rms) : "");
  }
};

void set_modifiers(MethodOptions& options, const Modifiers& m) {
  for (const Option& field : options.fields()) {
    const std::string_view name = field.key;
    if (name == "cautious") *std::get<bool*>(field.value) = m.cautious;
    if (name == "cautious_decay") *std::get<bool*>(field.value) = m.cautious_decay;
    if (name == "hold_norm") *std::get<bool*>(field.value) = m.hold_norm;
    if (name == "trust_ratio") *std::get<bool*>(field.value) = m.trust_ratio;
    if (name == "update_rms") *std::get<double*>(field.value) = m.update_rms;
  }
}

// One tensor's p after a step whose update is u, whose gradient, as the method sees it, is g, and which held `norm` at
// first.
Vector modified(const Modifiers& m, const Vector& p, Vector u, const Vector& g, const reference::Decay& d,
                double norm) {
  const std::size_t n = p.size();
  const double size = static_cast<double>(n);
  // arXiv 2411.16085, Algorithm 1: u∘φ·d/(‖φ‖₀ + 1) with φ = [u∘g > 0].
  if (m.cautious) {
    double kept = 0;
    for (std::size_t i = 0; i < n; ++i) kept += u[i] * g[i] > 0 ? 1 : 0;
    for (std::size_t i = 0; i < n; ++i) u[i] = u[i] * g[i] > 0 ? u[i] * size / (kept + 1) : 0;
  }
  // arXiv 2510.12402, Algorithm 1: decay where u∘x ≥ 0, x here from the target.
  Vector decay(n);
  for (std::size_t i = 0; i < n; ++i)
    decay[i] = m.cautious_decay && !(u[i] * (p[i] - d.target) >= 0) ? 0 : p[i] - d.parameter(p[i]);
  if (m.update_rms > 0 && reference::norm(u) > 0) {
    const double rms = reference::norm(u) / std::sqrt(size);
    for (double& x : u) x *= d.lr * m.update_rms / rms;
  }
  Vector change(n), out(n);
  for (std::size_t i = 0; i < n; ++i) change[i] = u[i] + decay[i];
  // arXiv 1904.00962, Algorithm 2 with φ(x) = x.
  if (m.trust_ratio && reference::norm(p) > 0 && reference::norm(change) > 0) {
    const double ratio = d.lr * reference::norm(p) / reference::norm(change);
    for (double& x : change) x *= ratio;
  }
  for (std::size_t i = 0; i < n; ++i) out[i] = p[i] - change[i];
  // W ← R·Normalize(W − ηR·Normalize(u)).
  if (m.hold_norm) {
    const double length = reference::norm(u);
    for (std::size_t i = 0; i < n; ++i) out[i] = p[i] - (length > 0 ? d.lr * norm * u[i] / length : 0);
    const double now = reference::norm(out);
    for (double& x : out) x *= now > 0 ? norm / now : 1;
  }
  return out;
}

Vector part(const Vector& v, std::size_t from, std::size_t size) {
  const auto begin = v.begin() + static_cast<std::ptrdiff_t>(from);
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

// A step's p, of so many row blocks that are tensors of their own.
Vector modified_blocks(const Modifiers& m, const Vector& p, const Vector& u, const Vector& g, const reference::Decay& d,
                       const Vector& norms) {
  Vector out;
  const std::size_t length = p.size() / norms.size();
  for (std::size_t b = 0; b < norms.size(); ++b) {
    const Vector block =
        modified(m, part(p, b * length, length), part(u, b * length, length), part(g, b * length, length), d, norms[b]);
    out.insert(out.end(), block.begin(), block.end());
  }
  return out;
}

Vector norms_of(const Vector& p, std::size_t blocks) {
  Vector out;
  const std::size_t length = p.size() / blocks;
  for (std::size_t b = 0; b < blocks; ++b) out.push_back(reference::norm(part(p, b * length, length)));
  return out;
}

double worst_gap(const Vector& got, const Vector& wanted) {
  double worst = 0.0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double gap = std::abs(got[i] - wanted[i]) / std::max(1.0, std::abs(wanted[i]));
    worst = gap <= worst ? worst : std::isnan(gap) ? INFINITY : gap;
  }
  return worst;
}

Modifiers drawn_modifiers(Random& random) {
  Modifiers m;
  m.cautious = random() % 2 == 0;
  m.cautious_decay = random() % 2 == 0;
  const auto size = random() % 4;
  m.hold_norm = size == 1;
  m.trust_ratio = size == 2;
  m.update_rms = size == 3 ? power_of_ten(random, -3, 1) : 0.0;
  return m;
}

struct Run {
  std::vector<std::int64_t> sizes;
  std::int64_t blocks = 1;
  double max_norm = 0.0;
  int steps = 25;
};

double worst_of_run(std::unique_ptr<MethodOptions> options, const Modifiers& m, const Run& run) {
  set_modifiers(*options, m);
  const auto method = reference::methods().at(std::string(options->method()))(as_reference(*options));
  const double lr = options->lr();
  const reference::Decay shared{std::string(to_string(options->decay_coupling())), options->weight_decay(),
                                options->decay_target(), lr, lr};
  const Tensor param = torch::randn(run.sizes, torch::kFloat64).requires_grad_(true);
  ParamRole role;
  role.row_blocks = run.blocks;
  Optimizer optimizer(Groups{{std::vector<Tensor>{param}}}, std::move(options), {{"w", param, role}});
  optimizer.set_max_norm(run.max_norm);
  Vector p = doubles_of(param);
  const Vector norms = norms_of(p, static_cast<std::size_t>(run.blocks));
  double worst = 0.0;
  for (int step = 0; step < run.steps; ++step) {
    Tensor grad = torch::randn(run.sizes, torch::kFloat64) + 0.3;
    grad.select(0, 0).zero_();
    if (step == 7) grad.zero_();
    param.mutable_grad() = grad;
    reference::Decay d = shared;
    const double factor = step == 9 ? 0.0 : 1.0 - step / 256.0;
    d.lr = lr * factor;
    optimizer.set_lr_factor(factor);
    optimizer.step();
    Vector raw = doubles_of(grad), g = raw;
    const double clip = run.max_norm > 0 ? std::min(1.0, run.max_norm / (reference::norm(raw) + 1e-6)) : 1.0;
    for (double& x : raw) x *= clip;
    for (std::size_t i = 0; i < g.size(); ++i) g[i] = d.gradient(p[i], raw[i]);
    p = modified_blocks(m, p, method->update(p, raw, d), g, d, norms);
    worst = std::max(worst, worst_gap(doubles_of(param), p));
  }
  return worst;
}

bool takes(const std::string& method) { return make_method_options(method)->implementation().takes_modifiers(); }

}  // namespace

TEST_CASE("modifiers follow their formulas with every elementwise method", "[elementwise]") {
  int methods = 0;
  for (const std::string& method : elementwise_methods()) {
    if (!takes(method) || reference::methods().count(method) == 0) continue;
    ++methods;
    Random random(5);
    torch::manual_seed(5);
    for (int draw = 0; draw < 24; ++draw) {
      const Modifiers m = drawn_modifiers(random);
      auto options = random_options(random, method);
      const DecayCoupling coupling = kCouplings[draw % 4];
      const bool decays = !m.hold_norm && !(m.cautious_decay && coupling == DecayCoupling::l2);
      set_shared(*options, power_of_ten(random, -4, -1), decays ? power_of_ten(random, -3, -0.5) : 0.0, coupling,
                 draw % 3 == 0 ? 1.0 : 0.0);
      Run run{{6, 7}};
      if (draw % 5 == 1) run.blocks = 3;
      if (draw % 5 == 2) run.sizes = {1};
      if (draw % 5 == 3) run.max_norm = 0.5;
      INFO(method << ", draw " << draw << m.text());
      CHECK(worst_of_run(std::move(options), m, run) <= 1e-11);
    }
  }
  CHECK(methods >= 16);
}

TEST_CASE("modifiers sum over tensors and row blocks of many chunks", "[elementwise]") {
  for (const Modifiers& m : {Modifiers{true, true}, Modifiers{false, false, true}, Modifiers{false, false, false, true},
                             Modifiers{true, true, false, false, 0.2}})
    for (const std::int64_t blocks : {1, 3}) {
      torch::manual_seed(9);
      auto options = make_method_options("adamw");
      set_shared(*options, 1e-2, m.hold_norm ? 0.0 : 0.1, DecayCoupling::lr, 0.0);
      INFO(m.text() << ", " << blocks << " blocks");
      CHECK(worst_of_run(std::move(options), m, {{33, 1501}, blocks, 0.0, 3}) <= 1e-11);
    }
}

namespace {

std::unique_ptr<Optimizer> adamw_of(const Tensor& param, const Modifiers& m, const std::string& rounding,
                                    std::int64_t blocks, double weight_decay) {
  auto options = std::make_unique<AdamWOptions>(AdamWOptions(1e-2).rounding(rounding).weight_decay(weight_decay));
  set_modifiers(*options, m);
  ParamRole role;
  role.row_blocks = blocks;
  return std::make_unique<Optimizer>(Groups{{std::vector<Tensor>{param}}}, std::move(options),
                                     std::vector<NamedParam>{{"w", param, role}});
}

// The nearest bfloat16; ties go away from zero, as kernels::split() has it.
Tensor split_rounding(const Tensor& x) {
  const Tensor magnitude = x.view(torch::kInt32).bitwise_and(0x7FFFFFFF) + 0x8000;
  return magnitude.bitwise_and(~0xFFFF).view(torch::kFloat32).copysign(x);
}

}  // namespace

TEST_CASE("a modified step of 16 bits is that of float32, rounded as the option says", "[elementwise]") {
  for (const auto dtype : {torch::kBFloat16, torch::kFloat16})
    for (const Modifiers& m :
         {Modifiers{true, true}, Modifiers{false, false, false, true}, Modifiers{false, false, false, false, 0.3}}) {
      torch::manual_seed(2);
      const Tensor narrow = torch::randn({30, 101}).to(dtype).requires_grad_(true);
      const Tensor kept = narrow.detach().clone().requires_grad_(true);
      const Tensor wide = narrow.detach().to(torch::kFloat32).requires_grad_(true);
      const auto nearest = adamw_of(narrow, m, "nearest", 1, 0.1),
                 compensated = adamw_of(kept, m, "compensated", 1, 0.1), exact = adamw_of(wide, m, "nearest", 1, 0.1);
      for (int step = 0; step < 4; ++step) {
        const Tensor grad = torch::randn({30, 101}).to(dtype);
        narrow.mutable_grad() = grad;
        kept.mutable_grad() = grad;
        wide.mutable_grad() = grad.to(torch::kFloat32);
        exact->step();
        compensated->step();
        nearest->step();
        INFO(c10::toString(dtype) << m.text() << ", step " << step);
        if (step == 0) CHECK(torch::equal(narrow.detach(), wide.detach().to(dtype)));
        if (dtype == torch::kBFloat16)
          CHECK(torch::equal(kept.detach().to(torch::kFloat32), split_rounding(wide.detach())));
      }
    }
}

TEST_CASE("a modifier that leaves a step as it is changes no bit of it, whatever the rounding and the row blocks",
          "[elementwise]") {
  Modifiers m;
  m.cautious_decay = true;  // of no decay
  for (const auto dtype : {torch::kFloat32, torch::kFloat64, torch::kBFloat16, torch::kFloat16})
    for (const char* rounding : {"nearest", "stochastic", "compensated"}) {
      torch::manual_seed(4);
      const Tensor a = torch::randn({33, 1501}).to(dtype).requires_grad_(true);
      const Tensor b = a.detach().clone().requires_grad_(true);
      const auto one = adamw_of(a, {}, rounding, 3, 0.0), two = adamw_of(b, m, rounding, 3, 0.0);
      for (int step = 0; step < 3; ++step) {
        a.mutable_grad() = torch::randn({33, 1501}).to(dtype);
        b.mutable_grad() = a.grad();
        one->trace_next_step();
        two->trace_next_step();
        one->step();
        two->step();
      }
      INFO(c10::toString(dtype) << " " << rounding);
      CHECK(torch::equal(a, b));
      const TraceRow &first = one->traces()[0], &second = two->traces()[0];
      CHECK(std::abs(first.update_norm - second.update_norm) <= 1e-6 * first.update_norm);
      CHECK(std::abs(first.adaptive_lr - second.adaptive_lr) <= 1e-6 * first.adaptive_lr);
      CHECK((std::isnan(first.stalled) ? std::isnan(second.stalled) : first.stalled == second.stalled));
    }
}

TEST_CASE("modifiers of matrix methods change the update that the method has formed") {
  for (const char* method : {"muon", "normuon", "soap"})
    for (const Modifiers& m : {Modifiers{true}, Modifiers{false, false, true}, Modifiers{false, true, false, true},
                               Modifiers{false, false, false, false, 0.2}})
      for (const std::int64_t blocks : {1, 2}) {
        if (blocks == 2 && std::string(method) == "soap") continue;  // its second moment is of the whole
        torch::manual_seed(8);
        const double lr = 0.02;
        const Tensor param = torch::randn({12, 9}, torch::kFloat64).requires_grad_(true);
        const auto options_of = [&](bool plain) {
          auto options = make_method_options(method);
          set_shared(*options, lr, m.cautious_decay && !plain ? 0.1 : 0.0, DecayCoupling::lr, 0.0);
          if (!plain) set_modifiers(*options, m);
          return options;
        };
        ParamRole role;
        role.row_blocks = blocks;
        Optimizer optimizer(Groups{{std::vector<Tensor>{param}}}, options_of(false), {{"w", param, role}});
        const Vector norms = norms_of(doubles_of(param), static_cast<std::size_t>(blocks));
        double worst = 0.0;
        for (int step = 0; step < 4; ++step) {
          const Tensor grad = torch::randn({12, 9}, torch::kFloat64);
          // The method's own step from this state.
          const Tensor other = param.detach().clone().requires_grad_(true);
          Optimizer own(Groups{{std::vector<Tensor>{other}}}, options_of(true), {{"w", other, role}});
          std::vector<std::pair<std::string, Tensor>> state;
          for (const auto& [name, tensor] : optimizer.named_state())
            if (name != "w/held_norm") state.emplace_back(name, tensor.clone());
          own.load_named_state(state);
          other.mutable_grad() = grad;
          own.step();
          const Vector before = doubles_of(param), moved = doubles_of(other);
          Vector u = before;
          for (std::size_t i = 0; i < u.size(); ++i) u[i] -= moved[i];
          const Vector wanted =
              modified_blocks(m, before, u, doubles_of(grad), {"lr", m.cautious_decay ? 0.1 : 0.0, 0.0, lr, lr}, norms);
          param.mutable_grad() = grad;
          optimizer.step();
          // SOAP's first step sets its bases and leaves the parameter, decay included.
          if (step > 0 || std::string(method) != "soap") worst = std::max(worst, worst_gap(doubles_of(param), wanted));
        }
        INFO(method << m.text() << ", " << blocks << " blocks");
        CHECK(worst <= 1e-12);
      }
}

TEST_CASE("a held norm is kept for 2000 steps in every type, and noted anew when rows change", "[elementwise]") {
  Modifiers m;
  m.hold_norm = true;
  // Each norm is that of values rounded once: of n elements to within 2⁻ᵇ/√n of it, b the bits of the type, and more
  // than 6 of these deviations never.
  const std::pair<torch::Dtype, double> types[] = {
      {torch::kFloat64, 0x1p-52}, {torch::kFloat32, 0x1p-23}, {torch::kBFloat16, 0x1p-8}, {torch::kFloat16, 0x1p-11}};
  for (const auto& [dtype, spacing] : types) {
    torch::manual_seed(6);
    const Tensor param = torch::randn({20, 30}).to(dtype).requires_grad_(true);
    const double norm = reference::norm(doubles_of(param));
    const auto optimizer = adamw_of(param, m, "nearest", 1, 0.0);
    double worst = 0.0;
    for (int step = 0; step < 2000; ++step) {
      param.mutable_grad() = torch::randn({20, 30}).to(dtype);
      optimizer->step();
      if (step % 100 == 99) worst = std::max(worst, std::abs(reference::norm(doubles_of(param)) / norm - 1.0));
    }
    INFO(c10::toString(dtype));
    CHECK(worst <= std::max(6.0 * spacing / std::sqrt(600.0), 2e-7 * (dtype == torch::kFloat64 ? 1e-6 : 1.0)));
  }
  const Tensor old = torch::randn({4, 5}).requires_grad_(true);
  const auto optimizer = adamw_of(old, m, "nearest", 1, 0.0);
  old.mutable_grad() = torch::randn({4, 5});
  optimizer->step();
  const Tensor grown = torch::cat({old.detach(), torch::randn({2, 5})}).requires_grad_(true);
  optimizer->replace_param(old, grown);
  const double norm = reference::norm(doubles_of(grown));
  for (int step = 0; step < 3; ++step) {
    grown.mutable_grad() = torch::randn({6, 5});
    optimizer->step();
  }
  CHECK(std::abs(reference::norm(doubles_of(grown)) / norm - 1.0) <= 1e-6);
}

TEST_CASE("a tensor of zeros stays under hold_norm, and takes the method's own step under trust_ratio",
          "[elementwise]") {
  for (const bool hold : {true, false}) {
    Modifiers m;
    (hold ? m.hold_norm : m.trust_ratio) = true;
    const Tensor zeros = torch::zeros({5}).requires_grad_(true), plain = torch::zeros({5}).requires_grad_(true);
    const auto optimizer = adamw_of(zeros, m, "nearest", 1, 0.0), own = adamw_of(plain, {}, "nearest", 1, 0.0);
    zeros.mutable_grad() = torch::ones({5});
    plain.mutable_grad() = torch::ones({5});
    optimizer->step();
    own->step();
    CHECK(torch::equal(zeros, hold ? torch::zeros({5}) : plain));
  }
}

TEST_CASE("modifiers that contradict each other or the method are refused in one line") {
  const auto policy = [](const std::string& options) {
    return message_of(
        [&] { RolePolicy::from_json(R"({"lr": 1e-3, "rules": [{"match": {}, )" + options + "}]}", "optimizer"); });
  };
  CHECK(policy(R"("hold_norm": true, "weight_decay": 0.1)") ==
        "optimizer.rules[0].weight_decay: got 0.1 with hold_norm; allowed: 0");
  CHECK(policy(R"("hold_norm": true, "trust_ratio": true)") ==
        "optimizer.rules[0].hold_norm: got true with trust_ratio; allowed: one of hold_norm, trust_ratio, update_rms");
  CHECK(policy(R"("update_rms": 0.2, "trust_ratio": true)") ==
        "optimizer.rules[0].trust_ratio: got true with update_rms; allowed: one of hold_norm, trust_ratio, update_rms");
  CHECK(policy(R"("method": "adam", "cautious_decay": true, "weight_decay": 0.1)") ==
        "optimizer.rules[0].cautious_decay: got true with decay_coupling l2; allowed: with lr, independent, lr2");
  CHECK(policy(R"("method": "asgd", "cautious": true)") ==
        "optimizer.rules[0].cautious: the step of asgd cannot be modified; allowed: false");
  CHECK(policy(R"("update_rms": -1)").find("optimizer.rules[0].update_rms: got -1") == 0);
  CHECK(policy(R"("method": "sgd", "nesterov": true)").find("optimizer.rules[0].nesterov: got true") == 0);
  CHECK(policy(R"("hold_norm": true, "qk_clip": 100)") ==
        "optimizer.rules[0].qk_clip: got 100 with hold_norm, whose next step restores the norm; allowed: 0");
  CHECK(policy(R"("method": "schedulefree_adamw", "qk_clip": 100)") ==
        "optimizer.rules[0].qk_clip: the step of schedulefree_adamw cannot be modified; allowed: 0");
  CHECK(policy(R"("qk_clip": -1)").find("optimizer.rules[0].qk_clip: got -1") == 0);
  CHECK(policy(R"("cautious": true, "cautious_decay": true, "update_rms": 0.2, "weight_decay": 0.1)").empty());
}

namespace {

// A map to queries of two heads of 3, and one to keys.
struct QueriesAndKeys {
  Tensor q = torch::randn({6, 4}, torch::kFloat64).requires_grad_(true),
         k = torch::randn({6, 4}, torch::kFloat64).requires_grad_(true);
  std::vector<NamedParam> params;

  QueriesAndKeys() {
    for (const bool queries : {true, false}) {
      ParamRole role;
      role.site = queries ? "attn.q" : "attn.k";
      role.layer = 0;
      role.head_dim = 3;
      params.push_back({queries ? "q" : "k", queries ? q : k, role});
    }
    for (const Tensor& p : {q, k}) p.mutable_grad() = torch::ones_like(p);
  }
  std::unique_ptr<Optimizer> optimizer(double q_clip, double k_clip) const {
    Groups groups;
    groups.emplace_back(std::vector<Tensor>{q}, std::make_unique<SGDOptions>(SGDOptions(0.1).qk_clip(q_clip)));
    groups.emplace_back(std::vector<Tensor>{k}, std::make_unique<SGDOptions>(SGDOptions(0.1).qk_clip(k_clip)));
    return std::make_unique<Optimizer>(groups, std::make_unique<SGDOptions>(0.1), params);
  }
};

}  // namespace

TEST_CASE("qk_clip takes the logits of one step, and without them, or with others, throws with nothing changed") {
  torch::manual_seed(2);
  QueriesAndKeys maps;
  const auto optimizer = maps.optimizer(2.0, 2.0);
  const Tensor before = maps.q.detach().clone();
  const auto thrown = [&] { return message_of([&] { optimizer->step(); }); };
  CHECK(thrown().find("step() with qk_clip needs the largest attention logits") == 0);
  optimizer->set_max_logits({torch::ones({3})});
  CHECK(thrown() == "set_max_logits(): layer 0: got [3]; allowed: [2], a number for each query head of q");
  CHECK(torch::equal(maps.q, before));
  optimizer->set_max_logits({torch::tensor({8.0, 1.0}, torch::kFloat64)});
  optimizer->step();
  Vector wanted = doubles_of(before);
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] = (wanted[i] - 0.1) * (i < 12 ? 0.5 : 1.0);
  CHECK(worst_gap(doubles_of(maps.q), wanted) <= 1e-15);
  CHECK(!thrown().empty());  // of another step
  // Logits that are not finite say nothing; and of maps without a gradient none are asked for.
  optimizer->set_max_logits({torch::full({2}, INFINITY, torch::kFloat64)});
  optimizer->step();
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] -= 0.1;
  CHECK(worst_gap(doubles_of(maps.q), wanted) <= 1e-15);
  maps.k.mutable_grad() = Tensor();
  CHECK(thrown().empty());

  CHECK(message_of([&] {
          const auto one = maps.optimizer(2.0, 0.0);
          maps.k.mutable_grad() = torch::ones_like(maps.k);
          one->step();
        }) == "k: qk_clip: got 0; allowed: 2, as q has: a logit is of queries and keys");
  QueriesAndKeys stacked;
  stacked.params[0].role.row_blocks = 2;
  CHECK(message_of([&] { stacked.optimizer(2.0, 2.0)->step(); }).find("q: qk_clip: the map is a stack of 2 maps") == 0);
  QueriesAndKeys without;
  without.params[0].role.head_dim = 0;
  CHECK(message_of([&] { without.optimizer(2.0, 2.0)->step(); }).find("q: qk_clip: its role has head_dim 0") == 0);
  QueriesAndKeys twice;
  twice.params[1].role.site = "attn.q";
  CHECK(message_of([&] { twice.optimizer(2.0, 2.0)->step(); }).find("k: qk_clip: its role is that of q too") == 0);
  twice.params[1].role.site = "attn.v";
  CHECK(message_of([&] { twice.optimizer(2.0, 0.0)->step(); }) ==
        "q: qk_clip: layer 0 has no map to keys (site attn.k); allowed: 0");
}
