#include <torch/torch.h>

#include <ATen/Parallel.h>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <set>
#include <sstream>
#include <string>

#include "optim/core/instruction_set.hpp"
#include "optim/method.hpp"
#include "optim/optim.hpp"
#include "optim/parallel/parallel.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"

// What every optimizer must do, run over the cases below: every method with its default options, or as a line says.
namespace {

using namespace scalevec;
using torch::Tensor;
using Groups = std::vector<torch::optim::OptimizerParamGroup>;

[[maybe_unused]] const bool kReproducible = (make_products_reproducible(), true);

struct Case {
  std::string name;
  std::function<std::unique_ptr<MethodOptions>()> options;
  bool matrices_only = false;
  bool matrix_method = false;

  const ElementwiseMethod* elementwise() const {
    return dynamic_cast<const ElementwiseMethod*>(&options()->implementation());
  }
  // Whether a parameter's step depends on the others of its group.
  bool of_group() const { return elementwise() && elementwise()->sums_of_group(); }
};

template <class Options>
Case make_case(const char* name, Options options, bool matrices_only = false) {
  return {name, [options] { return std::make_unique<Options>(options); }, matrices_only, matrices_only};
}

Case default_case(const std::string& method) {
  const auto options = [method] {
    auto made = make_method_options(method);
    made->set_lr(1e-2);
    made->set_weight_decay(0.1);
    // One that finds its own lr is to find it within a few steps.
    for (const auto& field : made->fields())
      if (field.key == "d0") *std::get<double*>(field.value) = 0.1;
    return made;
  };
  const auto made = options();
  const auto* matrix_method = dynamic_cast<const MatrixMethod*>(&made->implementation());
  return {method, options, matrix_method && !matrix_method->any_shape(), matrix_method != nullptr};
}

std::vector<Case> cases() {
  std::vector<Case> list;
  for (const auto coupling : {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2}) {
    list.push_back(make_case("adamw", AdamWOptions(1e-2).weight_decay(0.1).decay_coupling(coupling)));
    list.push_back(
        make_case("sgd", SGDOptions(1e-2).momentum(0.9).weight_decay(0.1).decay_coupling(coupling).decay_target(1)));
  }
  list.push_back(make_case("sgd plain", SGDOptions(1e-2)));
  list.push_back(make_case("sgd nesterov", SGDOptions(1e-2).momentum(0.9).nesterov(true)));
  list.push_back(make_case("ademamix", AdEMAMixOptions(1e-2).weight_decay(0.1).alpha_warmup(5).beta3_warmup(5)));
  for (const auto coupling : {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2})
    list.push_back(make_case("muon", MuonOptions(1e-2).decay_coupling(coupling).decay_target(1), true));
  list.push_back(make_case("muon float32", MuonOptions(1e-2).coefficients("polar_express").precision("float32"), true));
  list.push_back(make_case("soap", SOAPOptions(1e-2).precondition_frequency(2).max_precond_dim(200), true));
  list.push_back(make_case("adam amsgrad", AdamOptions(1e-2).weight_decay(0.1).amsgrad(true)));
  list.push_back(make_case("rmsprop centered", RMSpropOptions(1e-2).momentum(0.9).centered(true)));
  list.push_back(make_case("adamw cautious", AdamWOptions(1e-2).weight_decay(0.1).cautious(true).cautious_decay(true)));
  list.push_back(make_case("adamw hold_norm", AdamWOptions(1e-2).weight_decay(0).hold_norm(true)));
  list.push_back(make_case("sgd trust_ratio", SGDOptions(1e-2).momentum(0.9).trust_ratio(true)));
  list.push_back(make_case("muon update_rms", MuonOptions(1e-2).update_rms(0.2), true));
  list.push_back(make_case("dion", DionOptions(1e-2).rank_fraction(0.25), true));
  // Trained as a whole, of any shape: with triangular factors of small sides, and without bfloat16's slow products.
  for (Case of_any_shape : {make_case("kron", KronOptions(1e-2).weight_decay(0.1).max_size_triangular(140)),
                            make_case("scion", ScionOptions(1e-2).precision("float32"))}) {
    of_any_shape.matrix_method = true;
    list.push_back(std::move(of_any_shape));
  }
  std::set<std::string> covered;
  for (const Case& c : list) covered.insert(c.name);
  for (const std::string& method : method_names())
    if (!covered.count(method)) list.push_back(default_case(method));
  return list;
}

// Shapes that cross the borders of chunks, blocks and tiles, a scalar and an empty tensor.
std::vector<Tensor> make_params(torch::Dtype dtype = torch::kFloat32, bool matrices_only = false) {
  using Shapes = std::vector<std::vector<std::int64_t>>;
  const Shapes any{{131, 257}, {300}, {}, {0, 4}, {17, 3}},
      matrices{{131, 257}, {257, 260}, {1025, 33}, {1, 1}, {0, 4}, {17, 3}};
  torch::manual_seed(5);
  std::vector<Tensor> params;
  for (const auto& shape : matrices_only ? matrices : any)
    params.push_back(torch::randn(shape, torch::kFloat64).to(dtype).requires_grad_(true));
  return params;
}

std::vector<Tensor> make_params(const Case& c, torch::Dtype dtype = torch::kFloat32) {
  return make_params(dtype, c.matrices_only);
}

void set_grads(const std::vector<Tensor>& params, int step) {
  torch::manual_seed(100 + step);
  for (const Tensor& p : params) p.mutable_grad() = torch::randn(p.sizes(), torch::kFloat64).to(p.dtype());
}

std::unique_ptr<Optimizer> make(const Case& c, std::vector<Tensor> params) {
  return std::make_unique<Optimizer>(Groups{{std::move(params)}}, c.options());
}

void run(Optimizer& optimizer, const std::vector<Tensor>& params, int from, int to) {
  for (int step = from; step < to; ++step) {
    set_grads(params, step);
    optimizer.step();
  }
}

bool same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!torch::equal(a[i], b[i])) return false;
  return true;
}

}  // namespace

TEST_CASE("saved and loaded in mid-run, a run continues bit for bit") {
  for (const Case& c : cases()) {
    INFO(c.name);
    auto whole = make_params(c), parts = make_params(c);
    auto one = make(c, whole);
    run(*one, whole, 0, 8);
    auto first = make(c, parts);
    run(*first, parts, 0, 4);
    first->param_groups()[0].options().set_lr(1e-2);
    std::stringstream file;
    torch::save(*first, file);
    auto second = make(c, parts);
    torch::load(*second, file);
    run(*second, parts, 4, 8);
    CHECK(same(whole, parts));

    auto third = make_params(c);
    auto by_name = make(c, third);
    run(*by_name, third, 0, 4);
    auto state = by_name->named_state();
    for (auto& entry : state) entry.second = entry.second.clone();
    auto fourth = make(c, third);
    fourth->load_named_state(state);
    run(*fourth, third, 4, 8);
    CHECK(same(whole, third));
  }
}

TEST_CASE("a parameter without gradient is left alone and keeps its step count") {
  for (const Case& c : cases()) {
    INFO(c.name);
    auto params = make_params(c), reference = make_params(c);
    auto optimizer = make(c, params);
    set_grads(params, 0);
    const Tensor before = params[1].detach().clone();
    params[1].mutable_grad() = Tensor();
    optimizer->step();
    CHECK(torch::equal(params[1], before));
    // Its first step comes later and equals a first step, unless it is of its group.
    if (c.of_group()) continue;
    set_grads(params, 1);
    optimizer->step();
    auto fresh = make(c, {reference[1]});
    reference[1].mutable_grad() = params[1].grad().clone();
    fresh->step();
    CHECK(torch::equal(params[1], reference[1]));
  }
}

TEST_CASE("results do not depend on the number of threads nor on the order of parameters") {
  const int threads = at::get_num_threads();
  for (const Case& c : cases()) {
    INFO(c.name);
    auto a = make_params(c), b = make_params(c);
    auto one = make(c, a);
    one->set_max_norm(0.5);
    auto reversed = std::vector<Tensor>(b.rbegin(), b.rend());
    auto two = make(c, reversed);
    two->set_max_norm(0.5);
    at::set_num_threads(1);
    run(*one, a, 0, 3);
    one->trace_next_step();
    run(*one, a, 3, 4);
    at::set_num_threads(3);
    run(*two, b, 0, 3);
    two->trace_next_step();
    run(*two, b, 3, 4);
    CHECK(same(a, b));
    CHECK(one->grad_norm() == two->grad_norm());
    for (size_t i = 0; i < a.size(); ++i) {
      CHECK(one->traces()[i].update_norm == two->traces()[a.size() - 1 - i].update_norm);
      CHECK(one->traces()[i].predicted_decrease == two->traces()[a.size() - 1 - i].predicted_decrease);
    }
  }
  at::set_num_threads(threads);
}

TEST_CASE("sums equal those of copies before and after, under clipping and decay", "[elementwise]") {
  for (const Case& c : cases())
    for (const auto dtype : {torch::kFloat32, torch::kFloat64, torch::kBFloat16, torch::kFloat16}) {
      INFO(c.name << " " << c10::toString(dtype));
      auto params = make_params(c, dtype);
      auto optimizer = make(c, params);
      optimizer->set_max_norm(1.0);
      run(*optimizer, params, 0, 3);
      set_grads(params, 3);
      std::vector<Tensor> before;
      for (const Tensor& p : params) before.push_back(p.detach().clone());
      optimizer->trace_next_step();
      optimizer->step();
      REQUIRE(optimizer->traces().size() == params.size());
      CHECK(optimizer->clip_factor() < 1.0);
      for (size_t i = 0; i < params.size(); ++i) {
        const Tensor p = before[i].to(torch::kFloat64), g = params[i].grad().to(torch::kFloat64);
        const Tensor delta = params[i].detach().to(torch::kFloat64) - p;
        const TraceRow& row = optimizer->traces()[i];
        const double pn = p.norm().item<double>(), gn = g.norm().item<double>(), dn = delta.norm().item<double>();
        CHECK(std::abs(row.param_norm * row.param_norm - pn * pn) <= 1e-6 * pn * pn);
        CHECK(std::abs(row.grad_norm * row.grad_norm - gn * gn) <= 1e-6 * gn * gn);
        CHECK(std::abs(row.update_norm * row.update_norm - dn * dn) <= 1e-6 * dn * dn);
        CHECK(std::abs(row.predicted_decrease + (g * delta).sum().item<double>()) <= 1e-6 * gn * dn);
        if (row.count > 1 && dn > 0) {
          const Tensor after = p + delta;
          const double cosine = (p * after).sum().item<double>() / (pn * after.norm().item<double>());
          // Left out only below what rounding to 16 bits turns p by: near 1 bfloat16's numbers lie 2⁻⁷ apart, float16's
          // 2⁻¹⁰.
          if (std::isnan(row.rotation)) {
            CHECK(params[i].element_size() == 2);
            CHECK(1.0 - cosine <= 0.5 * std::pow(dtype == torch::kBFloat16 ? 0x1p-7 : 0x1p-10, 2) / 12.0 * 1.001);
          } else {
            CHECK(std::abs(std::cos(row.rotation) - cosine) <= 1e-6);
          }
        }
      }
    }
}

TEST_CASE("gradients in memory are not modified and the closure is called once") {
  for (const Case& c : cases()) {
    auto params = make_params(c);
    auto optimizer = make(c, params);
    optimizer->set_max_norm(0.1);
    int calls = 0;
    const Tensor loss = optimizer->step([&] {
      ++calls;
      set_grads(params, 0);
      return torch::tensor(3.25);
    });
    CHECK(calls == 1);
    CHECK(loss.item<double>() == 3.25);
    std::vector<Tensor> grads;
    for (const Tensor& p : params) grads.push_back(p.grad().clone());
    optimizer->step();
    for (size_t i = 0; i < params.size(); ++i) CHECK(torch::equal(grads[i], params[i].grad()));
  }
}

TEST_CASE("a gradient that is not finite is named before anything changes") {
  for (const Case& c : cases())
    for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
      auto params = make_params(c);
      auto optimizer = make(c, params);
      run(*optimizer, params, 0, 2);
      const auto state_before = optimizer->named_state();
      std::vector<Tensor> before, buffers;
      for (const Tensor& p : params) before.push_back(p.detach().clone());
      for (const auto& entry : state_before) buffers.push_back(entry.second.clone());
      set_grads(params, 2);
      params[0].grad()[130][200] = bad;
      CHECK(message_of([&] { optimizer->step(); }) == "the gradient of param.0.0 is not finite");
      CHECK(same(params, before));
      const auto state_after = optimizer->named_state();
      for (size_t i = 0; i < buffers.size(); ++i) CHECK(torch::equal(state_after[i].second, buffers[i]));
    }
}

TEST_CASE("finite gradients whose squares overflow float are not called infinite", "[elementwise]") {
  auto params = make_params();
  Optimizer optimizer(Groups{{params}}, std::make_unique<SGDOptions>(1e-30));
  set_grads(params, 0);
  params[1].mutable_grad() = torch::full({300}, 1e25);
  optimizer.step();
  CHECK(std::abs(optimizer.grad_norm() / (1e25 * std::sqrt(300.0)) - 1.0) < 1e-6);
}

TEST_CASE("memory layouts give the same values") {
  for (const Case& c : cases()) {
    INFO(c.name);
    torch::manual_seed(3);
    const Tensor value = torch::randn({30, 40}), grad = torch::randn({30, 40});
    std::vector<Tensor> ends;
    for (int layout = 0; layout < 3; ++layout) {
      Tensor p = value.clone();
      if (layout == 1) p = value.t().contiguous().t();                              // dense, transposed
      if (layout == 2) p = torch::empty({30, 80}).slice(1, 0, 80, 2).copy_(value);  // holes in memory
      p = p.detach().requires_grad_(true);
      auto optimizer = make(c, {p});
      for (int step = 0; step < 3; ++step) {
        p.mutable_grad() = grad.clone();
        optimizer->step();
      }
      ends.push_back(p.detach().contiguous());
    }
    CHECK(torch::equal(ends[0], ends[1]));
    CHECK(torch::equal(ends[0], ends[2]));
  }
}

TEST_CASE("groups, late groups and schedulers of torch::optim work") {
  for (const Case& c : cases()) {
    INFO(c.name);
    auto params = make_params(c);
    auto optimizer = make(c, {params[0]});
    torch::optim::StepLR scheduler(*optimizer, 1, 0.5);
    set_grads(params, 0);
    optimizer->step();
    scheduler.step();
    scheduler.step();  // LibTorch's first call leaves the lr
    CHECK(optimizer->param_groups()[0].options().get_lr() == 5e-3);
    optimizer->add_param_group(torch::optim::OptimizerParamGroup({params[1]}, std::make_unique<SGDOptions>(0.25)));
    set_grads(params, 1);
    const Tensor expected = params[1].detach() - 0.25 * params[1].grad();
    optimizer->step();
    CHECK(torch::allclose(params[1], expected, 0, 1e-6));
    optimizer->zero_grad();
    CHECK(!params[0].grad().defined());
    optimizer->param_groups()[0].params().push_back(params[1]);
    set_grads(params, 2);
    CHECK(message_of([&] { optimizer->step(); }).find("twice") != std::string::npos);
  }
}

TEST_CASE("lr changed between steps scales the next step's change") {
  for (const Case& c : cases()) {
    const auto options = c.options();
    // Its decay goes with the square of lr; Rprop's lr is its first step, ASGD's enters its own decay, and a circle is
    // not straight.
    if (options->decay_coupling() == DecayCoupling::lr2 || c.name == "rprop" || c.name == "asgd" ||
        options->hold_norm())
      continue;
    // Its mean is not of lr, or what it multiplies lr by is.
    if (c.of_group() || options->implementation().average(*options)) continue;
    INFO(c.name);
    auto full = make_params(c, torch::kFloat64), half = make_params(c, torch::kFloat64);
    auto one = make(c, full), two = make(c, half);
    run(*one, full, 0, 3);
    run(*two, half, 0, 3);
    std::vector<Tensor> before;
    for (const Tensor& p : full) before.push_back(p.detach().clone());
    two->set_lr_factor(0.5);
    run(*one, full, 3, 4);
    run(*two, half, 3, 4);
    for (size_t i = 0; i < full.size(); ++i) {
      const Tensor change = full[i].detach() - before[i];
      CHECK(torch::allclose(half[i].detach() - before[i], 0.5 * change, 0, 1e-14));
      CHECK((change.numel() == 0 || change.norm().item<double>() > 0));
    }
  }
}

TEST_CASE("sparse gradients are refused by every method") {
  for (const Case& c : cases()) {
    INFO(c.name);
    const Tensor p = torch::ones({3, 2}).requires_grad_(true);
    auto optimizer = make(c, {p});
    p.mutable_grad() = torch::ones({3, 2}).to_sparse();
    CHECK(message_of([&] { optimizer->step(); }) ==
          "param.0.0: its gradient is sparse; only dense gradients are supported");
    CHECK(torch::equal(p, torch::ones({3, 2})));
  }
}

namespace {

// The largest tensor storage allocated on this thread while it is in place, in bytes.
struct LargestAllocation : c10::MemoryReportingInfoBase {
  std::int64_t bytes = 0;
  void reportMemoryUsage(void*, std::int64_t size, size_t, size_t, c10::Device) override {
    bytes = std::max(bytes, size);
  }
  bool memoryProfilingEnabled() const override { return true; }
};

}  // namespace

TEST_CASE("an elementwise step allocates no tensor, traced and clipped or not") {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  for (const Case& c : cases()) {
    if (c.matrix_method) continue;
    INFO(c.name);
    const Tensor p = torch::randn({1 << 18}).requires_grad_(true);
    auto optimizer = make(c, {p});
    optimizer->set_max_norm(0.5);
    p.mutable_grad() = torch::randn({1 << 18});
    optimizer->step();
    const auto largest = std::make_shared<LargestAllocation>();
    {
      const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, largest);
      optimizer->step();
      optimizer->trace_next_step();
      optimizer->step();
      CHECK(largest->bytes == 0);
      const Tensor seen = torch::empty({1000});
      CHECK(largest->bytes >= 4000);
    }
  }
  at::set_num_threads(threads);
}

TEST_CASE("SCALEVEC_ISA chooses the kernels' instruction set", "[elementwise]") {
  const std::string isa = instruction_set();
  const char* wanted = std::getenv("SCALEVEC_ISA");
  CHECK(isa == (wanted ? std::string(wanted) : isa));
  CHECK((isa == "baseline" || isa == "avx2" || isa == "avx512"));
}

TEST_CASE("what cannot be trained is refused by name") {
  auto options = [] { return std::make_unique<AdamWOptions>(); };
  const Tensor p = torch::zeros({3}).requires_grad_(true);
  CHECK(message_of([&] {
          Optimizer(Groups{{std::vector<Tensor>{p, p}}}, options());
        }).find("param.0.1") != std::string::npos);
  const Tensor whole = torch::zeros({3}, torch::kInt32);
  CHECK(message_of([&] {
          Optimizer(Groups{{std::vector<Tensor>{whole}}}, options());
        }).find("dtype Int; allowed: float32, float64, bfloat16, float16") != std::string::npos);
  const Tensor complex = torch::zeros({3}, torch::kComplexFloat).requires_grad_(true);
  CHECK(message_of([&] { Optimizer(Groups{{std::vector<Tensor>{complex}}}, options()); }).find("complex") !=
        std::string::npos);
  CHECK(message_of([&] {
          Optimizer(Groups{{std::vector<Tensor>{p}}}, std::make_unique<AdamWOptions>(AdamWOptions(1e-3).beta2(1.0)));
        }).find("beta2: got 1; allowed: a number, [0, 1)") != std::string::npos);
  Optimizer optimizer(Groups{{std::vector<Tensor>{p}}}, options());
  p.mutable_grad() = torch::tensor({0.0f, 1.0f, 0.0f}).to_sparse();
  CHECK(message_of([&] { optimizer.step(); }).find("sparse") != std::string::npos);
}

TEST_CASE("a group keeps its own options beside the defaults") {
  const Tensor a = torch::ones({1}, torch::kFloat64).requires_grad_(true),
               b = torch::ones({1}, torch::kFloat64).requires_grad_(true);
  AdamW optimizer(
      Groups{{{a}, std::make_unique<AdamWOptions>(AdamWOptions(0.5).weight_decay(0).eps(0))}, {std::vector<Tensor>{b}}},
      AdamWOptions(0.25).weight_decay(0).eps(0));
  a.mutable_grad() = torch::ones({1}, torch::kFloat64);
  b.mutable_grad() = torch::ones({1}, torch::kFloat64);
  optimizer.step();
  CHECK(std::abs(a.item<double>() - 0.5) < 1e-12);
  CHECK(std::abs(b.item<double>() - 0.75) < 1e-12);
}
