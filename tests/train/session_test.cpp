#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/errors.hpp"
#include "experiments/system/memory.hpp"
#include "experiments/toys/toys.hpp"
#include "experiments/train/session.hpp"
#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"
#include "theory/simulate/output_scale.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using namespace scalevec::models;
using namespace scalevec::theory;
using nlohmann::json;

namespace {

json tiny() {
  return json::parse(R"({"model": {"vocab_size": 16, "width": 16, "layers": 1, "heads": 2, "qk_norm": true},
    "data": {"synthetic": {}}, "sequence_length": 8, "batch_size": 4, "steps": 6, "dtype": "float64", "threads": 1,
    "optimizer": {"lr": 1e-2, "max_norm": 1.0, "rules": [{"match": {}, "weight_decay": 0.1}]}})");
}

bool same_number(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

}  // namespace

TEST_CASE("accumulated micro-batches make the same step as the whole batch") {
  json parts = tiny();
  parts["accumulation"] = 4;
  Session whole(read_run_config(tiny())), split(read_run_config(parts));
  for (int i = 0; i < 3; ++i) {
    const StepResult a = whole.step(false), b = split.step(false);
    CHECK(std::abs(a.loss - b.loss) < 1e-12);
    CHECK(std::abs(a.grad_norm - b.grad_norm) < 1e-12);
  }
}

TEST_CASE("under bfloat16 autocast the loss stays close to float32's and the weights stay float32") {
  for (const std::string scales : {"plain", "unified"})
    for (const std::string execution : {"naive", "folded"})
      for (const bool mixture : {false, true}) {
        INFO(scales << ", " << execution << (mixture ? ", mixture" : ""));
        json config = tiny();
        config["dtype"] = "float32";
        // Adam's first steps take the sign of a gradient, and at tiny()'s lr rounding alone parts two runs within five.
        config["optimizer"]["lr"] = 1e-3;
        config["model"].update({{"scales", scales}, {"execution", execution}, {"qk_norm", false}, {"width", 32}});
        if (mixture) config["model"]["moe"] = {{"experts", 3}, {"shared_width", 16}, {"balance_loss", 0.01}};
        Session exact(read_run_config(config));
        config["autocast"] = "bfloat16";
        Session rounded(read_run_config(config));
        for (int i = 0; i < 6; ++i) {
          const double a = exact.step(false).loss, b = rounded.step(false).loss;
          INFO("step " << i);
          // A product of bfloat16 numbers is off by up to 2⁻⁸ of itself; some twenty of them lie one behind the other,
          // and the loss moves by far less than the logits.
          CHECK(std::abs(a - b) <= 0.01 * a);
          CHECK(a != b);
        }
        CHECK(std::abs(exact.validate() - rounded.validate()) <= 0.01 * exact.validate());
        for (const NamedParam& p : rounded.params()) {
          CHECK(p.tensor.scalar_type() == torch::kFloat32);
          CHECK(p.tensor.grad().scalar_type() == torch::kFloat32);
        }
      }
}

TEST_CASE("two variants with one seed see the same batches and start from the same matrices") {
  json bare = tiny();
  bare["model"]["scale_vectors"] = false;
  bare["model"]["qk_norm_scale"] = false;
  Session with(read_run_config(tiny())), without(read_run_config(bare));
  CHECK(with.params().size() > without.params().size());
  for (const NamedParam& p : without.params())
    for (const NamedParam& q : with.params())
      if (p.name == q.name) CHECK(torch::equal(p.tensor, q.tensor));
  // Every γ starts at 1, so the first losses agree too.
  CHECK(std::abs(with.step(false).loss - without.step(false).loss) < 1e-12);
}

TEST_CASE("a traced step reports every parameter and changes nothing else") {
  Session traced(read_run_config(tiny())), plain(read_run_config(tiny()));
  for (int i = 0; i < 3; ++i) {
    const StepResult r = traced.step(true);
    plain.step(false);
    CHECK(r.params.size() == traced.params().size());
    for (const RunTraceRow& row : r.params) {
      CHECK(row.grad_norm >= 0);
      CHECK((row.group.starts_with("scale") ? row.gamma_quantiles.size() == 7 : row.gamma_quantiles.empty()));
      if (row.group == "scale.input") CHECK(std::isfinite(row.imbalance));
      if (row.name.find("attn.q.weight") != std::string::npos) CHECK(std::isfinite(row.directional_lr));
    }
  }
  for (size_t i = 0; i < traced.params().size(); ++i)
    CHECK(torch::equal(traced.params()[i].tensor, plain.params()[i].tensor));
}

TEST_CASE("traces follow the scale vector in effect, whatever it is stored as") {
  json config = tiny();
  config["model"]["scales"] = "or";
  Session session(read_run_config(config));
  // γ = β√d α/‖α‖ (T8).
  const auto gamma = [&](const std::string& name) {
    torch::Tensor alpha, beta;
    for (const NamedParam& p : session.params()) {
      if (p.name == name + ".alpha") alpha = p.tensor.detach().clone();
      if (p.name == name + ".beta") beta = p.tensor.detach().clone();
    }
    return beta * std::sqrt(static_cast<double>(alpha.numel())) * alpha / alpha.norm();
  };
  const std::string scale = "layers.0.attn_norm";
  for (int step = 0; step < 3; ++step) {
    const torch::Tensor before = gamma(scale);
    const StepResult made = session.step(true);
    const torch::Tensor moved = gamma(scale) - before;
    bool found = false;
    for (const RunTraceRow& row : made.params) {
      CHECK(std::isfinite(row.gamma_update_norm) == !row.gamma_quantiles.empty());
      if (row.gamma_quantiles.empty() || !row.name.starts_with(scale)) continue;
      found = true;
      CHECK(row.gamma_update_norm == Approx(moved.norm().item<double>()).epsilon(1e-12));
      CHECK(row.gamma_update_along ==
            Approx((before * moved).sum().item<double>() / before.norm().item<double>()).epsilon(1e-12));
    }
    CHECK(found);
  }
}

TEST_CASE("methods with sums, averages or estimates of curvature go on bit for bit from what a checkpoint holds") {
  for (const std::string method :
       {"schedulefree_adamw", "schedulefree_sgd", "sophia", "prodigy", "mars_adamw", "mars_lion"}) {
    INFO(method);
    json config = tiny();
    config["accumulation"] = 2;
    config["optimizer"]["rules"][0]["method"] = method;
    if (method == "sophia") config["optimizer"]["rules"][0]["hessian_every"] = 2;
    Session whole(read_run_config(config)), first(read_run_config(config)), second(read_run_config(config));
    for (int step = 1; step <= 6; ++step) {
      whole.step(false);
      if (step > 3) {
        second.step(false);
        continue;
      }
      first.step(false);
      if (step < 3) continue;
      // Between two steps these change nothing.
      first.validate();
      first.average_weights();
      second.restore(3, first.weights(), first.optimizer_state());
    }
    const NamedTensors a = whole.weights(), b = second.weights();
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(torch::equal(a[i].second, b[i].second));
    CHECK(whole.validate() == second.validate());
  }
}

TEST_CASE("what is validated and kept is the average, where a method has one") {
  json config = tiny();
  Session plain(read_run_config(config));
  CHECK(plain.average_weights().empty());
  config["optimizer"]["rules"][0]["method"] = "schedulefree_adamw";
  Session session(read_run_config(config));
  for (int step = 0; step < 6; ++step) session.step(false);
  const NamedTensors average = session.average_weights(), trained = session.weights();
  double gap = 0.0;
  for (std::size_t i = 0; i < average.size(); ++i)
    gap = std::max(gap, (average[i].second - trained[i].second).abs().max().item<double>());
  CHECK(gap > 1e-4);
  plain.restore(6, average, {});
  CHECK(session.validate() == plain.validate());
  plain.restore(6, trained, {});
  CHECK(session.validate() != plain.validate());
}

TEST_CASE("an estimate of curvature draws the same labels in micro-batches, and a toy has none to draw") {
  json config = tiny();
  config["optimizer"]["rules"][0]["method"] = "sophia";
  json parts = config;
  parts["accumulation"] = 4;
  Session whole(read_run_config(config)), split(read_run_config(parts));
  whole.step(false);
  split.step(false);
  const NamedTensors a = whole.optimizer_state(), b = split.optimizer_state();
  REQUIRE(a.size() == b.size());
  int estimates = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!a[i].first.ends_with("/hessian")) continue;
    ++estimates;
    CHECK(a[i].second.max().item<double>() > 0.0);
    CHECK(torch::allclose(a[i].second, b[i].second, 1e-9, 1e-14));
  }
  CHECK(estimates > 5);
  const json toy = json::parse(R"({"model": {"type": "output_scale"}, "steps": 2,
    "optimizer": {"lr": 1e-2, "rules": [{"match": {}, "method": "sophia"}]}})");
  std::string said;
  try {
    const Session session(read_run_config(toy));
  } catch (const UsageError& e) {
    said = e.what();
  }
  CHECK(said.find("samples labels, which a toy has not") != std::string::npos);
}

TEST_CASE("traces give the gradients' signal-to-noise ratio since the last trace, also across a restart") {
  json config = tiny();
  config["log"] = {{"traces_every", 5}, {"snr", true}};
  Session whole(read_run_config(config)), first_half(read_run_config(config)), second_half(read_run_config(config));
  // By two passes over the gradients of steps 2 to 6 of each parameter.
  std::map<std::string, std::vector<torch::Tensor>> seen;
  std::vector<RunTraceRow> rows, groups;
  for (int step = 1; step <= 6; ++step) {
    StepResult made = whole.step(step == 1 || step == 6);
    if (step == 1) {
      for (const RunTraceRow& row : made.params) CHECK(std::isnan(row.snr));  // of one gradient there is none
      continue;
    }
    for (const NamedParam& p : whole.params()) seen[p.name].push_back(p.tensor.grad().clone());
    rows = std::move(made.params);
    groups = std::move(made.groups);
  }
  double scales = 0.0, count = 0.0;
  for (const RunTraceRow& row : rows) {
    const torch::Tensor g = torch::stack(seen.at(row.name)), mean = g.mean(0);
    const torch::Tensor ratio = mean.square() / ((g - mean).square().sum(0) / 4.0);
    const torch::Tensor finite =
        ratio.masked_select(torch::isfinite(ratio));  // tokens that never came have no gradient
    const double expected = std::sqrt(std::max(0.0, 2.0 / 4.0 * finite.mean().item<double>() - 1.0 / 5.0));
    INFO(row.name);
    CHECK(row.snr == Approx(expected).epsilon(1e-10).margin(1e-12));
    if (row.group != "scale.input") continue;
    scales += finite.sum().item<double>();
    count += static_cast<double>(finite.numel());
  }
  const auto group =
      std::find_if(groups.begin(), groups.end(), [](const RunTraceRow& row) { return row.name == "scale.input"; });
  REQUIRE(group != groups.end());
  CHECK(group->snr == Approx(std::sqrt(std::max(0.0, 0.5 * scales / count - 0.2))).epsilon(1e-10));

  for (int step = 1; step <= 3; ++step) first_half.step(step == 1);
  second_half.restore(3, first_half.weights(), first_half.optimizer_state());
  for (int step = 4; step <= 5; ++step) second_half.step(false);
  const StepResult last = second_half.step(true);
  for (std::size_t i = 0; i < rows.size(); ++i) CHECK(same_number(last.params[i].snr, rows[i].snr));
}

// The estimate's square has standard deviation √(2/count)/n about the truth for a small ratio: at 20,000 coordinates, n
// = 32 and s = 0.1 about 3e-4 of 0.01, so that 10 % of s is three deviations on either side and more.
TEST_CASE("the signal-to-noise ratio is free of the floor that noise gives it") {
  for (const double s : {0.0, 0.1, 0.5}) {
    torch::Tensor g = torch::empty({32, 20000}, torch::kFloat64);
    auto to = g.accessor<double, 2>();
    for (std::int64_t i = 0; i < 20000; ++i)
      for (std::int64_t k = 0; k < 32; ++k)
        to[k][i] = s + random_normal(6, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(k));
    const SignalSums sums = signal_sums(g.mean(0), g.var(0));
    CHECK(debiased_snr(sums, 32) == Approx(s).epsilon(0.1).margin(0.04));
    CHECK(std::isnan(debiased_snr(sums, 3)));
  }
}

TEST_CASE("a loss that is not finite stops the step before anything is changed") {
  json config = tiny();
  config["optimizer"]["lr"] = 1e300;
  Session session(read_run_config(config));
  session.step(false);
  std::vector<torch::Tensor> before;
  for (const NamedParam& p : session.params()) before.push_back(p.tensor.detach().clone());
  bool stopped = false;
  try {
    session.step(false);
    for (size_t i = 0; i < before.size(); ++i) before[i] = session.params()[i].tensor.detach().clone();
    session.step(false);
  } catch (const Divergence& d) {
    stopped = true;
    CHECK(d.step == session.steps_done() + 1);
    CHECK(!d.parameter.empty());
    CHECK(d.reason.find(d.parameter) != std::string::npos);
  }
  REQUIRE(stopped);
  for (size_t i = 0; i < before.size(); ++i) CHECK(torch::equal(session.params()[i].tensor, before[i]));
}

TEST_CASE("the LibTorch toy and a hand-written AdamW on the same noise agree step by step") {
  OutputScaleCell cell;
  cell.rule.lr = 1e-2;
  cell.rule.weight_decay = 0.1;
  SimulationOptions options;
  options.replicas = 5;
  options.steps = 200;
  options.seed = 11;
  const OutputScaleResult result = run_toy_with_torch(cell, options);
  for (std::int64_t i = 0; i < options.replicas; ++i) {
    double p = cell.toy.gamma0, m = 0, v = 0;
    for (std::int64_t t = 1; t <= options.steps; ++t) {
      const double noise = random_normal(options.seed, stream_of("toy.noise") + static_cast<std::uint64_t>(i),
                                         static_cast<std::uint64_t>(t - 1));
      const double g = cell.toy.h * (p - cell.toy.target) + cell.toy.sigma * noise;
      m = 0.9 * m + 0.1 * g;
      v = 0.999 * v + 0.001 * g * g;
      p -= cell.rule.lr * cell.rule.weight_decay * p;
      p -= cell.rule.lr * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
    }
    CHECK(std::abs(result.final_gamma[static_cast<size_t>(i)] - p) < 1e-12);
  }
}

TEST_CASE("the batched simulation and the LibTorch toy are the same run, in values and in traces") {
  for (const SimulatedMethod method : {SimulatedMethod::adamw, SimulatedMethod::sgd, SimulatedMethod::signum})
    for (const std::int64_t steps : {1, 2, 50, 200}) {
      OutputScaleCell cell;
      cell.rule.method = method;
      cell.rule.lr = 3e-3;
      cell.rule.weight_decay = 0.2;
      cell.rule.decay_target = 1.0;
      SimulationOptions options;
      options.steps = steps;
      options.replicas = 300;
      options.seed = 4;
      options.trace_steps = {steps - 1};
      const OutputScaleResult torch = run_toy_with_torch(cell, options);
      const OutputScaleResult batch = simulate_output_scale(cell, options);
      INFO(to_string(method) << " after " << steps);
      for (size_t i = 0; i < batch.final_gamma.size(); ++i)
        CHECK(std::abs(batch.final_gamma[i] - torch.final_gamma[i]) < 1e-12);
      REQUIRE(torch.traces.size() == 1);
      REQUIRE(batch.traces.size() == 1);
      for (const TraceField& field : trace_fields()) {
        const double a = batch.traces[0].*field.member, b = torch.traces[0].*field.member;
        INFO(field.name);
        CHECK(std::isnan(a) == std::isnan(b));
        if (!std::isnan(a)) CHECK(std::abs(a - b) <= 1e-9 * std::abs(a));
      }
    }
}

TEST_CASE("wrong data is refused with one line") {
  json config = tiny();
  config["data"]["synthetic"]["vocab_size"] = 64;
  CHECK_THROWS_AS(Session(read_run_config(config)), UsageError);
  config = tiny();
  config["data"] = {{"dir", "/nonexistent/folder"}};
  CHECK_THROWS_AS(Session(read_run_config(config)), UsageError);
}

TEST_CASE("errors of CUDA are one line: no memory left, or a GPU that failed") {
  const auto words = [](const std::string& what) {
    const std::runtime_error error(what);
    return out_of_memory(error).value_or(gpu_failed(error).value_or("neither"));
  };
  CHECK(words("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB free\nbacktrace") ==
        "out of memory: Tried to allocate 2.00 GiB. GPU 0 has 1 GiB free");
  CHECK(words("CUDA: cudaMalloc: out of memory") == "out of memory on the GPU: CUDA: cudaMalloc: out of memory");
  CHECK(words("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`") ==
        "out of memory on the GPU: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`");
  CHECK(words("CUDA error: unspecified launch failure\nSearch for it") ==
        "the GPU failed: CUDA error: unspecified launch failure");
  CHECK(words("the folder is full") == "neither");
}

TEST_CASE("deterministic and tf32 are kept in the configuration where they are on") {
  nlohmann::json config = nlohmann::json::parse(R"({"model": {"vocab_size": 16, "width": 8, "layers": 1, "heads": 2},
    "data": {"synthetic": {}}, "steps": 1, "optimizer": {"lr": 1e-2, "rules": [{"match": {}}]}})");
  CHECK_FALSE(read_run_config(config).resolved.contains("deterministic"));
  config["deterministic"] = true;
  CHECK(read_run_config(config).resolved.at("deterministic") == true);
  CHECK(read_run_config(config).deterministic);
  CHECK_FALSE(read_run_config(config).resolved.contains("tf32"));
  config["tf32"] = true;
  CHECK(read_run_config(config).resolved.at("tf32") == true);
}
