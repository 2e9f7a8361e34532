#include <torch/optim/optimizer.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "optim/gradient_moments.hpp"
#include "optim/method.hpp"
#include "optim/optim.hpp"
#include "optim/step_hooks.hpp"
#include "tests/cuda/emulated_step.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"

// The optimizers over a device, which is emulated, against the optimizers on the CPU.
namespace {

using namespace scalevec;
using scalevec::cuda_test::EmulatedStep;
using torch::Tensor;
using Groups = std::vector<torch::optim::OptimizerParamGroup>;

std::vector<std::unique_ptr<MethodOptions>> elementwise_methods() {
  std::vector<std::unique_ptr<MethodOptions>> list;
  const auto add = [&](auto options) {
    options.decay_target(1.0);
    list.push_back(std::make_unique<decltype(options)>(options));
  };
  add(AdamWOptions(1e-2).weight_decay(0.1));
  add(SGDOptions(1e-2));
  add(SGDOptions(1e-2).momentum(0.9).dampening(0.3).weight_decay(0.1));
  add(SGDOptions(1e-2).momentum(0.9).nesterov(true));
  add(SignumOptions(1e-2).weight_decay(0.1).decay_coupling(DecayCoupling::independent));
  add(LionOptions(1e-2).weight_decay(0.1).decay_coupling(DecayCoupling::lr2));
  add(AdEMAMixOptions(1e-2).weight_decay(0.1).alpha(5).alpha_warmup(3).beta3_warmup(4));
  // And every other that the kernels have, with its default options.
  for (const std::string& name : method_names()) {
    auto options = make_method_options(name);
    options->set_lr(1e-2);
    const bool listed =
        std::any_of(list.begin(), list.end(), [&](const auto& other) { return other->method() == name; });
    const bool elementwise = dynamic_cast<const ElementwiseMethod*>(&options->implementation()) != nullptr;
    if (!listed && elementwise && cuda::known_method(*options)) list.push_back(std::move(options));
  }
  return list;
}

std::vector<Tensor> make_params(torch::Dtype dtype = torch::kFloat64) {
  torch::manual_seed(5);
  std::vector<Tensor> params;
  for (const std::vector<std::int64_t>& shape : std::vector<std::vector<std::int64_t>>{{13, 87}, {}, {0, 4}, {5}})
    params.push_back(torch::randn(shape, torch::kFloat64).to(dtype).requires_grad_(true));
  // Dense and transposed, with gradients laid out otherwise.
  params.push_back(torch::randn({6, 4}, torch::kFloat64).to(dtype).t().detach().requires_grad_(true));
  return params;
}

// The same for the device: a method that takes sums before its step wants its parameters contiguous there.
std::vector<Tensor> make_params(const MethodOptions& options, torch::Dtype dtype = torch::kFloat64) {
  auto params = make_params(dtype);
  const auto* method = dynamic_cast<const ElementwiseMethod*>(&options.implementation());
  if (method && method->measures()) params.back() = params.back().detach().contiguous().requires_grad_(true);
  return params;
}

void run(Optimizer& optimizer, const std::vector<Tensor>& params, int from, int to) {
  for (int step = from; step < to; ++step) {
    torch::manual_seed(100 + step);
    for (const Tensor& p : params) p.mutable_grad() = torch::randn(p.sizes(), torch::kFloat64).to(p.dtype());
    optimizer.set_lr_factor(1.0 / (1 + step));
    optimizer.step();
  }
}

std::unique_ptr<Optimizer> make(const std::vector<Tensor>& params, const MethodOptions& options,
                                std::shared_ptr<EmulatedStep> device = nullptr) {
  auto copy = options.clone();
  auto optimizer = std::make_unique<Optimizer>(
      Groups{{params}}, std::unique_ptr<MethodOptions>(static_cast<MethodOptions*>(copy.release())));
  optimizer->set_max_norm(2.0);
  if (device) StepHooks(*optimizer).set_device_step(std::move(device));
  return optimizer;
}

void check_close(const std::vector<Tensor>& a, const std::vector<Tensor>& b, double tolerance) {
  for (size_t i = 0; i < a.size(); ++i) {
    INFO("parameter " << i);
    CHECK(torch::allclose(a[i], b[i], tolerance, tolerance));
  }
}

}  // namespace

TEST_CASE("a device's steps, norms, sums and counts are the CPU's for every elementwise method") {
  for (const auto& options : elementwise_methods())
    for (const auto& [dtype, tolerance] : {std::pair(torch::kFloat64, 1e-13), std::pair(torch::kFloat32, 1e-6)}) {
      INFO(std::string(options->method()));
      const auto host = make_params(*options, dtype), device = make_params(*options, dtype);
      const auto emulated = std::make_shared<EmulatedStep>();
      auto one = make(host, *options), two = make(device, *options, emulated);
      run(*one, host, 0, 2);
      run(*two, device, 0, 2);
      CHECK(emulated->steps == 2);
      CHECK(emulated->waits == 0);
      one->trace_next_step();
      two->trace_next_step();
      run(*one, host, 2, 3);
      run(*two, device, 2, 3);
      check_close(host, device, tolerance);
      CHECK(std::abs(one->grad_norm() - two->grad_norm()) <= 1e-6 * one->grad_norm());
      CHECK(std::abs(one->clip_factor() - two->clip_factor()) <= 1e-6);
      CHECK(two->clip_factor() < 1.0);
      REQUIRE(one->traces().size() == two->traces().size());
      for (const Tensor& p : device) CHECK(p._version() == 3);
      for (size_t i = 0; i < one->traces().size(); ++i) {
        const TraceRow &a = one->traces()[i], &b = two->traces()[i];
        CHECK(a.name == b.name);
        CHECK(a.count == b.count);
        CHECK(std::abs(a.update_norm - b.update_norm) <= 1e-5 * a.update_norm);
        CHECK(std::abs(a.predicted_decrease - b.predicted_decrease) <= 1e-5 * a.grad_norm * a.update_norm);
      }
      const auto state = two->named_state();
      REQUIRE(state.size() == one->named_state().size());
      CHECK(state.front().second.item<std::int64_t>() == 3);
    }
}

TEST_CASE("a device stores 16-bit parameters under every rounding as the CPU does, and both can go on from the other") {
  const auto with_rounding = [](const MethodOptions& options, const char* rounding) {
    auto copy = options.clone();
    for (const auto& field : static_cast<MethodOptions&>(*copy).fields())
      if (field.key == "rounding") *std::get<std::string*>(field.value) = rounding;
    return copy;
  };
  // The emulation is slow: rules with no, one, two and three buffers stand for all.
  std::vector<std::unique_ptr<MethodOptions>> methods;
  for (auto& options : elementwise_methods())
    if (options->method() == "sgd" || options->method() == "adamw" || options->method() == "ademamix")
      methods.push_back(std::move(options));
  for (const auto& plain : methods)
    for (const auto dtype : {torch::kBFloat16, torch::kFloat16})
      for (const std::string rounding : {"nearest", "stochastic", "compensated"}) {
        if (rounding == "nearest" && dtype == torch::kBFloat16) continue;  // the kernels' test has it
        INFO(std::string(plain->method()) << " " << c10::toString(dtype) << " " << rounding);
        const auto copy = with_rounding(*plain, rounding.c_str());
        const auto& options = static_cast<const MethodOptions&>(*copy);
        const auto host = make_params(dtype), device = make_params(dtype);
        const auto emulated = std::make_shared<EmulatedStep>();
        auto one = make(host, options), two = make(device, options, emulated);
        run(*one, host, 0, 1);
        run(*two, device, 0, 1);
        CHECK(emulated->steps == 1);
        // By turns.
        auto three = make(device, options);
        three->load_named_state(two->named_state());
        run(*one, host, 1, 2);
        run(*three, device, 1, 2);
        auto four = make(device, options, emulated);
        four->load_named_state(three->named_state());
        one->trace_next_step();
        four->trace_next_step();
        const std::int64_t version = device[0]._version();
        run(*one, host, 2, 3);
        run(*four, device, 2, 3);
        CHECK(device[0]._version() > version);
        // The CPU's kernel may fuse a product and a sum, the emulated one not: a number that is nearly in the middle,
        // or whose chance is nearly met, goes to the other neighbour, rarely.
        const double spacing = dtype == torch::kBFloat16 ? 0x1p-7 : 0x1p-10;
        std::int64_t other = 0, all = 0;
        for (size_t i = 0; i < host.size(); ++i) {
          const Tensor a = host[i].detach().to(torch::kFloat64), b = device[i].detach().to(torch::kFloat64);
          CHECK(((a - b).abs() <= spacing * a.abs() + 1e-6).all().item<bool>());
          other += (a != b).sum().item<std::int64_t>();
          all += a.numel();
        }
        INFO(other << " of " << all);
        CHECK(other <= all / 100);
        CHECK(std::abs(one->group_traces()[0].stalled - four->group_traces()[0].stalled) <= 0.01);
      }
}

TEST_CASE("state moves between the CPU and a device by saving and loading") {
  for (const auto& options : elementwise_methods())
    for (const bool to_device : {true, false}) {
      INFO(std::string(options->method()) << (to_device ? " to" : " from") << " the device");
      const auto whole = make_params(*options), parts = make_params(*options);
      auto reference = make(whole, *options);
      run(*reference, whole, 0, 4);
      const auto emulated = [] { return std::make_shared<EmulatedStep>(); };
      auto first = make(parts, *options, to_device ? nullptr : emulated());
      run(*first, parts, 0, 2);
      std::stringstream file;
      torch::save(*first, file);
      auto second = make(parts, *options, to_device ? emulated() : nullptr);
      torch::load(*second, file);
      run(*second, parts, 2, 3);
      auto third = make(parts, *options, to_device ? nullptr : emulated());
      third->load_named_state(second->named_state());
      run(*third, parts, 3, 4);
      check_close(whole, parts, 1e-13);
      for (const auto& entry : third->named_state())
        if (entry.first.ends_with("/step")) CHECK(entry.second.item<std::int64_t>() == 4);
    }
}

TEST_CASE(
    "deferred traces wait for nothing until the device's memory of them is full, and are those of waiting steps") {
  const auto one = make_params(), two = make_params();
  const auto emulated = std::make_shared<EmulatedStep>();
  const AdamWOptions options(1e-2);
  auto waiting = make({one[3]}, options, std::make_shared<EmulatedStep>()),
       deferring = make({two[3]}, options, emulated);
  StepHooks hooks(*deferring);
  hooks.defer_traces(true);
  const int steps = static_cast<int>(cuda::kSumsKept) + 6;
  std::vector<TraceRow> expected;
  std::vector<int> waits;
  for (int i = 0; i < steps; ++i) {
    // A step without traces in between, which takes a place too.
    if (i != 3) {
      waiting->trace_next_step();
      deferring->trace_next_step();
    }
    run(*waiting, {one[3]}, i, i + 1);
    run(*deferring, {two[3]}, i, i + 1);
    if (i != 3) expected.push_back(waiting->traces().at(0));
    waits.push_back(emulated->waits);
  }
  CHECK(waits[cuda::kSumsKept - 1] == 0);
  CHECK(waits.back() == cuda::kSumsKept - 1);  // one for each traced step then kept
  const std::vector<TracedStep> traced = hooks.take_traces();
  REQUIRE(traced.size() == expected.size());
  for (size_t i = 0; i < traced.size(); ++i) {
    CHECK(traced[i].params.at(0).update_norm == expected[i].update_norm);
    CHECK(traced[i].params.at(0).grad_norm == expected[i].grad_norm);
    CHECK(traced[i].params.at(0).scheduled_lr == expected[i].scheduled_lr);
    CHECK(traced[i].groups.size() == 1);
  }
  CHECK(hooks.take_traces().empty());
}

TEST_CASE("matrix methods that form their updates on a device make the CPU's steps, sums and states there") {
  std::vector<std::vector<std::int64_t>> shapes{{6, 15}, {15, 6}, {6, 15}, {9, 9}};
  std::vector<std::unique_ptr<MethodOptions>> list;
  const auto add = [&](auto options) {
    if constexpr (requires { options.precision("auto"); }) options.precision("auto");
    options.weight_decay(0.1);
    list.push_back(std::make_unique<decltype(options)>(options));
  };
  for (const char* norm : {"spectral", "sign", "col", "row", "bias", "auto"}) add(ScionOptions(1e-2).norm(norm));
  add(AdamMiniOptions(1e-2));
  // Sides with a unique basis: where the covariance has no full rank, its null space has none.
  for (const std::int64_t every : {1, 2, 10}) add(SOAPOptions(1e-2).max_precond_dim(9).precondition_frequency(every));
  add(SOAPOptions(1e-2).max_precond_dim(9).eps(0.0).decay_coupling(DecayCoupling::l2));
  for (const std::int64_t longest : {100, 8}) add(KronOptions(1e-2).max_size_triangular(longest));
  // The fourth step, whose sums are compared, does not fit.
  add(KronOptions(1e-2).flat_start(1).prob_decay(0.5).precond_init_scale(0.5).max_rms(0.3));
  add(DionOptions(1e-2));
  add(DionOptions(1e-2).rank_fraction(0.5));
  add(AdafactorOptions(1e-2));
  add(AdafactorOptions(1.0).eps1(1e-3).d(2.0));
  add(MuonOptions(1e-2));
  add(MuonOptions(1e-2).coefficients("polar_express").ns_steps(7).nesterov(false));
  add(MuonOptions(1e-2).gram(true).ns_steps(7).lr_scaling("match_rms_adamw"));
  add(NorMuonOptions(1e-2).lr_scaling("spectral"));
  add(NorMuonOptions(1e-2).lr_scaling("match_rms_adamw").row_eps(0.0));
  for (const auto& options : list)
    for (const std::int64_t blocks : {1, 3}) {
      INFO(std::string(options->method()) << ", " << blocks << " row blocks");
      const auto& method = static_cast<const MatrixMethod&>(options->implementation());
      shapes.resize(4);
      if (method.any_shape()) shapes.insert(shapes.end(), {{12}, {6, 2, 3}, {12}});
      const auto made = [&] {
        torch::manual_seed(7);
        std::vector<Tensor> params;
        for (const auto& shape : shapes) params.push_back(torch::randn(shape, torch::kFloat64).requires_grad_(true));
        return params;
      };
      const auto named = [&](const std::vector<Tensor>& params) {
        std::vector<NamedParam> names;
        for (size_t i = 0; i < params.size(); ++i)
          names.push_back({"m" + std::to_string(i), params[i],
                           ParamRole{.kind = ParamKind::matrix, .row_blocks = blocks, .head_dim = i == 2 ? 2 : 0}});
        return names;
      };
      const auto host = made(), device = made();
      const auto emulated = std::make_shared<EmulatedStep>();
      auto one = make(host, *options), two = make(device, *options, emulated);
      one->set_names(named(host));
      two->set_names(named(device));
      run(*one, host, 0, 3);
      run(*two, device, 0, 3);
      CHECK(emulated->waits == 0);
      one->trace_next_step();
      two->trace_next_step();
      run(*one, host, 3, 4);
      run(*two, device, 3, 4);
      check_close(host, device, 1e-9);
      const auto a = one->named_state(), b = two->named_state();
      REQUIRE(a.size() == b.size());
      for (size_t i = 0; i < a.size(); ++i) CHECK(torch::allclose(a[i].second, b[i].second, 1e-9, 1e-9));
      for (size_t i = 0; i < shapes.size(); ++i) {
        CHECK(one->traces()[i].name == two->traces()[i].name);
        CHECK(two->traces()[i].count == host[i].numel());
        CHECK(std::abs(one->traces()[i].update_norm - two->traces()[i].update_norm) <= 1e-9);
        CHECK(std::abs(one->traces()[i].grad_norm - two->traces()[i].grad_norm) <= 1e-9 * one->traces()[i].grad_norm);
      }
      CHECK(std::abs(one->grad_norm() - two->grad_norm()) <= 1e-12 * one->grad_norm());
      // A refused step changes neither parameters nor state.
      std::vector<Tensor> before;
      for (const auto& entry : two->named_state()) before.push_back(entry.second.clone());
      const Tensor p = device[2].detach().clone();
      device[0].grad()[1][2] = std::numeric_limits<double>::quiet_NaN();
      two->step();
      CHECK(two->refused_steps() == 1);
      CHECK(torch::equal(device[2], p));
      const auto after = two->named_state();
      for (size_t i = 0; i < before.size(); ++i) CHECK(torch::equal(after[i].second, before[i]));
    }
}

TEST_CASE("states of 8 bits have the CPU's codes on a device") {
  std::vector<std::unique_ptr<MethodOptions>> methods;
  methods.push_back(std::make_unique<AdamW8bitOptions>(AdamW8bitOptions(1e-2).weight_decay(0.1)));
  methods.push_back(std::make_unique<Lion8bitOptions>(Lion8bitOptions(1e-2).weight_decay(0.1)));
  for (const auto& options : methods)
    for (const auto& [dtype, tolerance] :
         {std::pair(torch::kFloat64, 1e-6), std::pair(torch::kFloat32, 1e-5), std::pair(torch::kBFloat16, 0x1p-6)}) {
      INFO(std::string(options->method()) << " " << c10::toString(dtype));
      const auto made = [&] {
        torch::manual_seed(7);
        std::vector<Tensor> params;
        // Within a block of states, ends of blocks, more than a unit, nothing, one element; one of zeros.
        for (const std::vector<std::int64_t>& shape :
             std::vector<std::vector<std::int64_t>>{{13, 87}, {256}, {5}, {0, 4}, {}, {17, 1000}})
          params.push_back(torch::randn(shape, torch::kFloat64).to(dtype).requires_grad_(true));
        return params;
      };
      const auto host = made(), device = made();
      const auto emulated = std::make_shared<EmulatedStep>();
      auto one = make(host, *options), two = make(device, *options, emulated);
      const auto scaled = [](const std::vector<Tensor>& params, int step) {
        for (size_t i = 0; i < params.size(); ++i) params[i].mutable_grad() *= i == 1 ? 0.0 : std::pow(10.0, step - 3);
      };
      for (int step = 0; step < 6; ++step)
        for (const auto& [params, optimizer] : {std::pair(&host, one.get()), std::pair(&device, two.get())}) {
          torch::manual_seed(100 + step);
          for (const Tensor& p : *params) p.mutable_grad() = torch::randn(p.sizes(), torch::kFloat64).to(p.dtype());
          scaled(*params, step);
          if (step == 5) optimizer->trace_next_step();
          optimizer->step();
        }
      CHECK(emulated->steps == 6);
      CHECK(emulated->waits <= 1);
      // A value that is nearly between two codes may fall to the other where a product and a sum are fused.
      const auto a = one->named_state(), b = two->named_state();
      REQUIRE(a.size() == b.size());
      std::int64_t other = 0, all = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        INFO(a[i].first);
        CHECK(a[i].first == b[i].first);
        if (a[i].second.scalar_type() == torch::kUInt8) {
          other += (a[i].second != b[i].second).sum().item<std::int64_t>();
          all += a[i].second.numel();
        } else {
          CHECK((a[i].second != b[i].second).sum().item<std::int64_t>() <= a[i].second.numel() / 50);
        }
      }
      INFO(other << " of " << all);
      CHECK(other <= all / 200);
      std::int64_t far = 0, elements = 0;
      for (size_t i = 0; i < host.size(); ++i) {
        const Tensor x = host[i].detach().to(torch::kFloat64), y = device[i].detach().to(torch::kFloat64);
        CHECK(((x - y).abs() <= 1e-2).all().item<bool>());
        far += ((x - y).abs() > tolerance * (1 + x.abs())).sum().item<std::int64_t>();
        elements += x.numel();
      }
      CHECK(far <= elements / 100);
      for (size_t i = 0; i < host.size(); ++i)
        CHECK(std::abs(one->traces()[i].update_norm - two->traces()[i].update_norm) <=
              1e-3 * one->traces()[i].update_norm);
    }
}

TEST_CASE("options that modify a step do on a device what they do on the CPU, with row blocks and held norms") {
  const auto modified = [](const MethodOptions& plain, const std::string& how) {
    auto copy = plain.clone();
    auto& options = static_cast<MethodOptions&>(*copy);
    for (const auto& field : options.fields()) {
      if (how.find(field.key + ";") == std::string::npos) continue;
      if (field.key == "update_rms")
        *std::get<double*>(field.value) = 0.2;
      else
        *std::get<bool*>(field.value) = true;
    }
    return copy;
  };
  std::vector<std::unique_ptr<MethodOptions>> methods;
  methods.push_back(std::make_unique<AdamWOptions>(AdamWOptions(1e-2).weight_decay(0.1).decay_target(1.0)));
  methods.push_back(
      std::make_unique<SGDOptions>(SGDOptions(1e-2).momentum(0.9).weight_decay(0.1).decay_coupling(DecayCoupling::lr)));
  methods.push_back(std::make_unique<MuonOptions>(MuonOptions(1e-2).precision("auto").weight_decay(0.1)));
  methods.push_back(std::make_unique<AdafactorOptions>(AdafactorOptions(1e-2)));
  methods.push_back(std::make_unique<MarsAdamWOptions>(MarsAdamWOptions(1e-2).weight_decay(0.1)));
  for (const auto& plain : methods)
    for (const std::string how : {"hold_norm;", "trust_ratio;", "update_rms;", "cautious;", "cautious_decay;",
                                  "cautious;cautious_decay;trust_ratio;"})
      for (const auto& [dtype, tolerance] : {std::pair(torch::kFloat64, 1e-11), std::pair(torch::kBFloat16, 0x1p-7)}) {
        INFO(std::string(plain->method()) << " " << how << " " << c10::toString(dtype));
        const auto copy = modified(*plain, how);
        auto& options = static_cast<MethodOptions&>(*copy);
        if (how == "hold_norm;") options.set_weight_decay(0.0);
        const auto made = [&] {
          torch::manual_seed(7);
          std::vector<Tensor> params;
          // The second is longer than a unit in each of its blocks.
          for (const std::vector<std::int64_t>& shape : std::vector<std::vector<std::int64_t>>{{6, 15}, {6, 9000}})
            params.push_back(torch::randn(shape, torch::kFloat64).to(dtype).requires_grad_(true));
          // The emulation is slow: held norms stand for all.
          if (plain->method() == "muon" || how != "hold_norm;") params.pop_back();
          return params;
        };
        const auto host = made(), device = made();
        const auto emulated = std::make_shared<EmulatedStep>();
        auto one = make(host, options), two = make(device, options, emulated);
        for (const auto& [params, optimizer] : {std::pair(&host, one.get()), std::pair(&device, two.get())}) {
          std::vector<NamedParam> names;
          for (size_t i = 0; i < params->size(); ++i)
            names.push_back({"m" + std::to_string(i), (*params)[i],
                             ParamRole{.kind = ParamKind::matrix, .row_blocks = i + 1 < params->size() ? 1 : 3}});
          optimizer->set_names(names);
        }
        run(*one, host, 0, 2);
        run(*two, device, 0, 2);
        CHECK(emulated->steps == 2);
        CHECK(emulated->waits == 0);
        one->trace_next_step();
        two->trace_next_step();
        run(*one, host, 2, 3);
        run(*two, device, 2, 3);
        check_close(host, device, tolerance);
        const auto a = one->named_state(), b = two->named_state();
        REQUIRE(a.size() == b.size());
        for (size_t i = 0; i < a.size(); ++i)
          CHECK(torch::allclose(a[i].second.to(torch::kFloat64), b[i].second.to(torch::kFloat64), 1e-4, 1e-5));
        if (dtype != torch::kFloat64) continue;
        for (size_t i = 0; i < host.size(); ++i)
          CHECK(std::abs(one->traces()[i].update_norm - two->traces()[i].update_norm) <=
                1e-9 * one->traces()[i].update_norm);
      }
}

TEST_CASE("a gradient that is not finite makes a device's step a no-op without an exception") {
  for (const auto& options : elementwise_methods()) {
    INFO(std::string(options->method()));
    const auto params = make_params(*options);
    auto optimizer = make(params, *options, std::make_shared<EmulatedStep>());
    run(*optimizer, params, 0, 1);
    std::vector<Tensor> before, state;
    for (const Tensor& p : params) before.push_back(p.detach().clone());
    for (const auto& entry : optimizer->named_state()) state.push_back(entry.second.clone());
    params[3].grad()[2] = std::numeric_limits<double>::infinity();
    optimizer->trace_next_step();
    optimizer->step();
    CHECK(optimizer->refused_steps() == 1);
    for (size_t i = 0; i < params.size(); ++i) {
      CHECK(torch::equal(params[i], before[i]));
      CHECK(optimizer->traces()[i].count == 0);
    }
    const auto after = optimizer->named_state();
    for (size_t i = 0; i < state.size(); ++i) CHECK(torch::equal(after[i].second, state[i]));
    run(*optimizer, params, 1, 2);
    CHECK(optimizer->refused_steps() == 1);
    CHECK_FALSE(torch::equal(params[0], before[0]));
  }
}

TEST_CASE("a refused step of a device clips no heads, and the next one those that the CPU clips") {
  const auto both = [](std::shared_ptr<EmulatedStep> device) {
    torch::manual_seed(8);
    std::vector<NamedParam> params;
    for (const char* site : {"attn.q", "attn.k"})
      params.push_back({site, torch::randn({8, 6}, torch::kFloat64).requires_grad_(true),
                        ParamRole{.kind = ParamKind::matrix, .site = site, .layer = 0, .head_dim = 4}});
    auto optimizer =
        make_optimizer(params, RolePolicy::from_json(R"({"lr": 1e-2, "rules": [{"match": {}, "qk_clip": 1}]})"));
    if (device) StepHooks(*optimizer).set_device_step(std::move(device));
    return std::pair(std::move(params), std::move(optimizer));
  };
  const Tensor logits = torch::tensor({4.0, 0.5});
  const auto step = [&](const std::vector<NamedParam>& params, Optimizer& optimizer, double first) {
    torch::manual_seed(9);
    for (const NamedParam& p : params) p.tensor.mutable_grad() = torch::randn({8, 6}, torch::kFloat64);
    params.front().tensor.mutable_grad()[0][0] = first;
    optimizer.set_max_logits({logits});
    optimizer.step();
  };
  auto [params, optimizer] = both(std::make_shared<EmulatedStep>());
  auto [expected, host] = both(nullptr);
  const Tensor before = params[0].tensor.detach().clone();
  step(params, *optimizer, std::numeric_limits<double>::quiet_NaN());
  CHECK(optimizer->refused_steps() == 1);
  for (std::size_t i = 0; i < 2; ++i) CHECK(torch::equal(params[i].tensor, expected[i].tensor));
  step(params, *optimizer, 1.0);
  step(expected, *host, 1.0);
  for (std::size_t i = 0; i < 2; ++i) CHECK(torch::allclose(params[i].tensor, expected[i].tensor, 1e-13, 1e-13));
  // Half of the first head, less the step.
  CHECK(torch::allclose(params[0].tensor.narrow(0, 0, 4), before.narrow(0, 0, 4) * 0.5, 0.0, 0.02));
  CHECK(torch::allclose(params[0].tensor.narrow(0, 4, 4), before.narrow(0, 4, 4), 0.0, 0.02));
}

TEST_CASE("estimates of curvature on a device are the CPU's, and one from gradients that are not finite is a no-op") {
  for (const auto& [dtype, tolerance] :
       {std::pair(torch::kFloat64, 1e-13), std::pair(torch::kFloat32, 1e-6), std::pair(torch::kBFloat16, 1e-2)}) {
    const SophiaOptions options = SophiaOptions(1e-2).weight_decay(0.1);
    const auto host = make_params(dtype), device = make_params(dtype);
    const auto emulated = std::make_shared<EmulatedStep>();
    auto one = make(host, options), two = make(device, options, emulated);
    const auto estimate = [](Optimizer& optimizer, const std::vector<Tensor>& params, int seed) {
      torch::manual_seed(seed);
      for (const Tensor& p : params) p.mutable_grad() = torch::randn(p.sizes(), torch::kFloat64).to(p.dtype());
      optimizer.update_hessian(64.0);
    };
    for (int i = 0; i < 3; ++i) {
      estimate(*one, host, 40 + i);
      estimate(*two, device, 40 + i);
      run(*one, host, i, i + 1);
      run(*two, device, i, i + 1);
    }
    CHECK(emulated->waits == 0);
    check_close(host, device, tolerance);
    const auto a = one->named_state(), b = two->named_state();
    REQUIRE(a.size() == b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      INFO(a[i].first);
      CHECK(torch::allclose(a[i].second, b[i].second, tolerance, tolerance));
    }
    std::vector<Tensor> before;
    for (const auto& entry : b) before.push_back(entry.second.clone());
    device[0].mutable_grad()[0][0] = std::numeric_limits<double>::infinity();
    two->update_hessian(64.0);
    const auto after = two->named_state();
    for (size_t i = 0; i < before.size(); ++i) CHECK(torch::equal(after[i].second, before[i]));
    CHECK(two->refused_steps() == 1);
  }
}

TEST_CASE("a method whose sums are of its group takes them over all its parameters, wherever those lie") {
  for (const bool gaps : {false, true}) {
    INFO(gaps);
    const auto made = [&] {
      auto params = make_params(ProdigyOptions(1.0));
      if (gaps) params[0] = params[0].detach().narrow(1, 0, 40).requires_grad_(true);
      return params;
    };
    const auto build = [](const std::vector<Tensor>& params, const std::shared_ptr<EmulatedStep>& device) {
      Groups groups;
      groups.emplace_back(std::vector<Tensor>{params[0], params[3]},
                          std::make_unique<ProdigyOptions>(ProdigyOptions(1.0).d0(1e-2)));
      groups.emplace_back(std::vector<Tensor>{params[1], params[2], params[4]},
                          std::make_unique<ProdigyOptions>(ProdigyOptions(1.0).d0(1e-3)));
      auto optimizer = std::make_unique<Optimizer>(groups, std::make_unique<SGDOptions>(1e-2));
      if (device) StepHooks(*optimizer).set_device_step(device);
      return optimizer;
    };
    const auto host = made(), device = made();
    const auto emulated = std::make_shared<EmulatedStep>();
    auto one = build(host, nullptr), two = build(device, emulated);
    // One direction, in which the distance grows.
    for (int i = 0; i < 6; ++i) {
      run(*one, host, 0, 1);
      run(*two, device, 0, 1);
    }
    CHECK(emulated->steps == 6);
    check_close(host, device, 1e-10);
    const auto a = one->named_state(), b = two->named_state();
    double most = 0.0;
    for (size_t i = 0; i < a.size(); ++i) {
      if (!a[i].first.ends_with("/numbers")) continue;
      CHECK(torch::allclose(a[i].second, b[i].second, 1e-10, 0.0));
      most = std::max(most, a[i].second[0].item<double>());
    }
    CHECK(most > 2e-2);
  }
}

TEST_CASE("a device's parameters share one clip norm and the check by name with those that the host steps") {
  const auto build = [](const std::vector<Tensor>& params, std::shared_ptr<EmulatedStep> device) {
    Groups groups;
    groups.emplace_back(std::vector<Tensor>{params[0]}, std::make_unique<MuonOptions>(1e-2));
    groups.emplace_back(std::vector<Tensor>{params[1], params[3]}, std::make_unique<AdamWOptions>(1e-2));
    groups.emplace_back(std::vector<Tensor>{params[4]}, std::make_unique<SGDOptions>(1e-2));
    auto optimizer = std::make_unique<Optimizer>(groups, std::make_unique<SGDOptions>(1e-2));
    optimizer->set_max_norm(2.0);
    if (device) StepHooks(*optimizer).set_device_step(device);
    return optimizer;
  };
  const auto made = [] {
    auto params = make_params();
    params[0] = params[0].detach().narrow(1, 0, 40).requires_grad_(true);  // with gaps
    return params;
  };
  const auto host = made(), device = made();
  const auto emulated = std::make_shared<EmulatedStep>();
  auto one = build(host, nullptr), two = build(device, emulated);
  run(*one, host, 0, 3);
  run(*two, device, 0, 3);
  CHECK(emulated->steps == 3);
  check_close(host, device, 1e-12);
  CHECK(std::abs(one->grad_norm() - two->grad_norm()) <= 1e-12 * one->grad_norm());
  CHECK(two->clip_factor() < 1.0);
  const Tensor before = device[0].detach().clone();
  device[3].grad()[1] = std::nan("");
  CHECK(message_of([&] { two->step(); }) == "the gradient of param.1.1 is not finite");
  CHECK(torch::equal(device[0], before));
}

TEST_CASE("means and deviations of gradients on a device are the CPU's") {
  for (const auto type : {torch::kFloat64, torch::kFloat32, torch::kBFloat16}) {
    INFO(c10::str(type));
    std::vector<Tensor> params;
    for (const Tensor& p : make_params()) params.push_back(p.detach().to(type).requires_grad_(true));
    EmulatedStep device;
    GradientMoments ours(params), hosts(params);
    // More launches than the device keeps the sums of.
    for (int window = 0; window < 70; ++window) {
      const int steps = window == 69 ? 6 : 2;
      for (int step = 0; step < steps; ++step) {
        for (std::size_t i = 0; i < params.size(); ++i)
          params[i].mutable_grad() = torch::randn_like(params[i].detach());
        ours.add(&device);
        hosts.add(nullptr);
      }
      const Tensor got = ours.signal(&device), want = hosts.signal(nullptr);
      CHECK(torch::allclose(got, want, type == torch::kFloat64 ? 1e-12 : 1e-5, 0.0));
      if (window + 1 < 70) {
        ours.reset();
        hosts.reset();
      }
    }
    for (std::size_t i = 0; i < params.size(); ++i) {
      CHECK(torch::allclose(ours.entries()[i].mean, hosts.entries()[i].mean, 1e-5, 1e-6));
      CHECK(torch::allclose(ours.entries()[i].squares, hosts.entries()[i].squares, 1e-6, 0.0));
    }
  }
}
