#include <torch/library.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>

#include "models/decoder.hpp"
#include "optim/method.hpp"
#include "tests/cuda/emulated_session.hpp"
#include "tests/support/catch.hpp"

// A whole training step as a CUDA device makes it: enqueued, not waited for, recorded and replayed. The device is
// emulated.
using namespace scalevec;
using namespace scalevec::experiments;
using namespace scalevec::models;
using namespace scalevec::cuda_test;
using nlohmann::json;

namespace {

// The shapes of what LibTorch leaves to Python on the meta device.
torch::Tensor meta_index_select(const torch::Tensor& x, std::int64_t dim, const torch::Tensor& index) {
  std::vector<std::int64_t> sizes = x.sizes().vec();
  sizes[static_cast<std::size_t>(dim)] = index.numel();
  return x.new_empty(sizes);
}
torch::Tensor meta_embedding_backward(const torch::Tensor& grad, const torch::Tensor&, std::int64_t rows, std::int64_t,
                                      bool) {
  return grad.new_empty({rows, grad.size(-1)});
}
torch::Tensor meta_where(const torch::Tensor& condition, const torch::Tensor& x, const torch::Tensor& y) {
  const torch::Tensor& like = x.dim() > 0 ? x : y;
  return like.new_empty(torch::broadcast_tensors({condition, x, y}).front().sizes());
}
torch::Tensor& meta_where_out(const torch::Tensor& condition, const torch::Tensor& x, const torch::Tensor& y,
                              torch::Tensor& out) {
  out.resize_(meta_where(condition, x, y).sizes());
  return out;
}
torch::Tensor meta_grouped_mm(const torch::Tensor& a, const torch::Tensor& b, const std::optional<torch::Tensor>& ends,
                              const std::optional<torch::Tensor>&, std::optional<torch::ScalarType>) {
  if (b.dim() == 3) return a.new_empty({a.size(0), b.size(2)});
  return a.new_empty({ends->size(0), a.size(0), b.size(1)});
}

TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl("_grouped_mm", &meta_grouped_mm);
  library.impl("where.self", &meta_where);
  library.impl("where.self_out", &meta_where_out);
  library.impl("index_select", &meta_index_select);
  library.impl("embedding_dense_backward", &meta_embedding_backward);
}

}  // namespace

TEST_CASE("recorded steps are the host's, with the lr of each step, and wait for nothing, traced or not") {
  json plain = tiny(), clipped = tiny();
  plain["log"] = json::parse(R"({"traces_every": 5, "snr": true})");
  clipped["optimizer"]["rules"] =
      json::parse(R"([{"match": {}, "weight_decay": 0.1}, {"match": {"site": ["attn.q", "attn.k"]}, "qk_clip": 0.1}])");
  clipped["model"].update({{"qk_norm", false}, {"init_std", 0.5}});
  for (const auto& [config, graph] :
       {std::pair(plain, false), std::pair(plain, true), std::pair(clipped, false), std::pair(clipped, true)}) {
    INFO((graph ? "recorded" : "enqueued") << (config == clipped ? ", with qk_clip" : ""));
    Session host(read_run_config(config));
    OnDevice on(config, graph);
    std::vector<StepTraces> expected_traces, traces;
    for (int i = 0; i < 12; ++i) {
      const bool trace = i == 1 || i == 6 || i == 7 || i == 11, wait = i == 5 || i == 9 || i == 11;
      const int waits = on.device->waits;
      StepResult expected = host.step(trace), got = on.session.step(trace, 0, wait);
      INFO("step " << i);
      CHECK(got.known == wait);
      CHECK(got.lr == expected.lr);
      if (trace) expected_traces.push_back({i + 1, std::move(expected.params), std::move(expected.groups)});
      if (!got.known) {
        CHECK(on.device->waits == waits);
        CHECK(got.params.empty());
        continue;
      }
      for (StepTraces& earlier : got.earlier) traces.push_back(std::move(earlier));
      if (trace) traces.push_back({i + 1, std::move(got.params), std::move(got.groups)});
      CHECK(std::abs(got.loss - expected.loss) <= 1e-12);
      CHECK(std::abs(got.grad_norm - expected.grad_norm) <= 1e-9 * expected.grad_norm);
    }
    REQUIRE(traces.size() == expected_traces.size());
    for (std::size_t t = 0; t < traces.size(); ++t) {
      INFO("traces " << t);
      CHECK(traces[t].step == expected_traces[t].step);
      for (const auto rows : {&StepTraces::params, &StepTraces::groups}) {
        REQUIRE((traces[t].*rows).size() == (expected_traces[t].*rows).size());
        for (std::size_t k = 0; k < (traces[t].*rows).size(); ++k) {
          const RunTraceRow &a = (traces[t].*rows)[k], &b = (expected_traces[t].*rows)[k];
          INFO(b.name);
          CHECK(a.name == b.name);
          CHECK(a.gamma_quantiles.size() == b.gamma_quantiles.size());
          for (const RunTraceField& field : run_trace_fields()) {
            INFO(field.name);
            const double x = a.*field.member, y = b.*field.member;
            CHECK(std::isnan(x) == std::isnan(y));
            // Sums that cancel are in another order.
            if (!std::isnan(y)) CHECK(std::abs(x - y) <= 1e-6 * std::abs(y) + 1e-9);
          }
        }
      }
    }
    // Three steps to warm up; the others are replayed, traced or not.
    if (graph) CHECK(on.recorded->replays == 12 - TrainStep::kWarmUp);
    if (graph) CHECK(on.recorded->records == 2);
    CHECK(on.device->steps == 12);
    const NamedTensors a = host.weights(), b = on.session.weights();
    for (std::size_t i = 0; i < a.size(); ++i) {
      INFO(a[i].first);
      CHECK(torch::allclose(a[i].second, b[i].second, 1e-10, 1e-12));
    }
    CHECK(std::abs(host.validate() - on.session.validate()) <= 1e-11);
  }
}

TEST_CASE("a step that the host has a part in is not recorded, and a mixture of experts takes the host's steps") {
  json experts = tiny(), mixed = tiny();
  experts["model"]["moe"] = {{"experts", 3}};
  experts["model"]["scales"] = "plain";
  mixed["optimizer"]["rules"] =
      json::parse(R"([{"match": {"site": ["attn.q", "attn.k"]}, "method": "lion", "qk_clip": 0.1}, {"match": {}}])");
  mixed["model"].update({{"qk_norm", false}, {"init_std", 0.5}});
  for (const json& config : {experts, mixed}) {
    Session host(read_run_config(config));
    OnDevice on(config);
    on.device->unhandled = "lion";
    for (int i = 0; i < 6; ++i) {
      const double expected = host.step(false).loss;
      const StepResult got = on.session.step(false, 0, true);
      CHECK(std::abs(got.loss - expected) <= 1e-11);
    }
    if (config["optimizer"]["rules"].size() == 2) CHECK(on.recorded->replays == 0);
  }
}

TEST_CASE(
    "a run with every method that has more than a pass per step is recorded as one with AdamW is, and waits for "
    "nothing") {
  for (const std::string method :
       {"muon", "normuon", "scion", "adam_mini", "adafactor", "dion", "soap", "kron", "sophia"}) {
    INFO(method);
    json config = tiny();
    config["model"]["layers"] = 2;
    config["optimizer"]["rules"] = json::parse(R"([{"match": {"kind": "matrix"}}, {"match": {}}])");
    config["optimizer"]["rules"][0]["method"] = method;
    if (method == "muon" || method == "normuon" || method == "scion")
      config["optimizer"]["rules"][0]["precision"] = "auto";
    // Whole bases, which the gradients of one step do not determine, are as good but not the CPU's.
    if (method == "soap")
      config["optimizer"]["rules"][0].update({{"precondition_frequency", 5}, {"max_precond_dim", 8}});
    if (method == "sophia") config["optimizer"]["rules"][0]["hessian_every"] = 3;
    // The first step fits, and the fifth.
    if (method == "kron")
      config["optimizer"]["rules"][0].update({{"flat_start", 0}, {"prob_decay", 0.5}, {"min_prob", 0.25}});
    Session host(read_run_config(config));
    OnDevice on(config);
    for (int i = 0; i < 8; ++i) {
      const bool wait = i == 7;
      const int waits = on.device->waits;
      const double expected = host.step(false).loss;
      const StepResult got = on.session.step(false, 0, wait);
      if (wait)
        CHECK(std::abs(got.loss - expected) <= 1e-9);
      else
        CHECK(on.device->waits == waits);
    }
    // SOAP's sixth step turns its bases.
    CHECK(on.recorded->replays == 8 - TrainStep::kWarmUp - (method == "soap" || method == "kron" ? 1 : 0));
  }
}

TEST_CASE("a matrix method on a device forms its updates without asking for a value") {
  int forms = 0;
  for (const std::string& name : method_names()) {
    const auto options = make_method_options(name);
    const auto* method = dynamic_cast<const MatrixMethod*>(&options->implementation());
    if (!method || !method->forms_on_device()) continue;
    INFO(name);
    ++forms;
    // On the meta device tensors have no values: asking for one throws.
    const auto meta = torch::dtype(torch::kFloat32).device(torch::kMeta);
    for (const bool tall : {false, true}) {
      const std::int64_t rows = tall ? 24 : 6, cols = tall ? 6 : 24;
      DeviceMatrices matrices;
      matrices.options = options.get();
      matrices.row_blocks = 2;
      // LibTorch solves no triangular system there, as Kron's fittings do.
      matrices.number = 2;
      while (!method->ordinary_on_device(*options, matrices.number)) ++matrices.number;
      const ParamRole role{.head_dim = 3};
      matrices.role = &role;
      matrices.update = torch::empty({3, rows, cols}, meta);
      matrices.lr = torch::empty({}, meta.dtype(torch::kFloat64));
      matrices.refused = torch::empty({}, meta.dtype(torch::kBool));
      for (int i = 0; i < 3; ++i) {
        matrices.buffers.emplace_back();
        matrices.params.push_back(torch::empty({rows, cols}, meta));
        matrices.steps.push_back(torch::empty({}, meta.dtype(torch::kInt64)));
        for (const BufferSpec& spec : method->state(*options, std::vector<std::int64_t>{rows, cols}))
          matrices.buffers.back().push_back(torch::empty(spec.shape, meta));
      }
      method->form_on_device(matrices);
      CHECK(matrices.update.is_meta());
      CHECK(matrices.update.sizes() == c10::IntArrayRef({3, rows, cols}));
    }
  }
  CHECK(forms == 8);
}

TEST_CASE("a step is recorded again when the device's tables have moved, and not at all when that fails") {
  for (const bool fails : {false, true}) {
    INFO((fails ? "fails" : "moves"));
    Session host(read_run_config(tiny()));
    OnDevice on(tiny());
    on.recorded->fails = fails;
    for (int i = 0; i < 8; ++i) {
      if (!fails && i == 6) on.device->captures_hold = false;
      CHECK(std::abs(on.session.step(false, 0, true).loss - host.step(false).loss) <= 1e-12);
    }
    CHECK(on.recorded->records == (fails ? 1 : 2));
    CHECK(on.recorded->replays == (fails ? 0 : 8 - TrainStep::kWarmUp));
  }
}

TEST_CASE("a gradient that is not finite changes nothing and is told at the next step that waits") {
  OnDevice on(tiny());
  for (int i = 0; i < 5; ++i) on.session.step(false, 0, false);
  const torch::Tensor p = on.session.params().front().tensor;
  const torch::Tensor other = on.session.params().back().tensor;
  {
    const torch::NoGradGuard no_grad;
    p.fill_(std::numeric_limits<double>::quiet_NaN());
  }
  const torch::Tensor before = other.detach().clone();
  CHECK_FALSE(on.session.step(false, 0, false).known);
  CHECK(torch::equal(other, before));
  bool told = false;
  try {
    on.session.step(false, 0, true);
  } catch (const Divergence& d) {
    told = true;
    CHECK(d.step == 7);
    CHECK(d.reason.find("not finite") != std::string::npos);
  }
  CHECK(told);
}

TEST_CASE("forward and backward ask for no value, which a recorded step could not give") {
  // On the meta device tensors have no values: asking for one throws.
  for (const std::string scales : {"plain", "hg", "dp", "dnp", "or", "unified", "mixture", "unified mixture"})
    for (const std::string execution : {"naive", "folded"}) {
      INFO(scales << ", " << execution);
      json config = tiny();
      config["dtype"] = "float32";
      const bool mixture = scales.ends_with("mixture");
      const std::string preset = scales == "mixture" ? "plain" : scales.substr(0, scales.find(' '));
      config["model"].update({{"scales", preset}, {"execution", execution}});
      if (scales == "plain") config["model"]["kv_heads"] = 1;
      if (mixture) config["model"]["moe"] = {{"experts", 5}, {"top_k", 2}, {"balance_bias_rate", 0.01}};
      const RunConfig read = read_run_config(config);
      const auto model = make_model(read, torch::kCPU);
      // Module::to() does not go there.
      for (const torch::Tensor& p : model->parameters())
        p.unsafeGetTensorImpl()->shallow_copy_from(torch::empty_like(p.detach(), torch::kMeta).getIntrusivePtr());
      for (const torch::Tensor& b : model->buffers())
        b.unsafeGetTensorImpl()->shallow_copy_from(torch::empty_like(b, torch::kMeta).getIntrusivePtr());
      CHECK(model->work_is_fixed());
      const torch::Tensor tokens = torch::empty({4, 9}, torch::dtype(torch::kInt64).device(torch::kMeta));
      const torch::Tensor loss = model->loss(tokens, 0);
      loss.backward();
      CHECK(loss.device().is_meta());
      for (const NamedParam& p : model_params(*model)) {
        INFO(p.name);
        CHECK(p.tensor.grad().defined());
      }
      CHECK_THROWS(loss.item<double>());
    }
}
