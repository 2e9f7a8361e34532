#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "experiments/train/session.hpp"
#include "models/models.hpp"
#include "models/toy/toy.hpp"
#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/reference_optimizers.hpp"
#include "tests/support/toy_reference.hpp"
#include "theory/simulate/batch_optimizer.hpp"
#include "theory/simulate/scaled_map.hpp"
#include "theory/theory.hpp"

// A toy trained as `scalevec train` trains it against the same toy without LibTorch: gradients in plain loops, steps by
// the batched optimizer of theory/. Every umbrella header is included, so that no name of theirs stands for two things.
using namespace scalevec;
using namespace scalevec::experiments;
using namespace scalevec::models;
using namespace scalevec::theory;
using nlohmann::json;

namespace {

const std::vector<std::string>& toy_texts() {
  static const std::vector<std::string> all = {
      R"({"type": "output_scale", "replicas": 7})",
      R"({"type": "input_scale", "rows": 3, "replicas": 5, "target": 1.3, "sigma": 0.5, "init_std": 0.3})",
      R"({"type": "input_scale", "rows": 3, "replicas": 5, "sigma": 0.5, "scale": false})",
      R"({"type": "branch_scales", "curvatures": [1, 0.1], "targets": [0.2, 3], "sigma": 0.3, "replicas": 6, "own": true})",
      R"({"type": "branch_scales", "curvatures": [1, 0.1], "targets": [0.2, 3], "sigma": 0.3, "replicas": 6})",
      R"({"type": "placement", "scales": "input", "rows": 3, "columns": 4, "replicas": 2})",
      R"({"type": "placement", "scales": "both", "target": "rank_one", "rows": 3, "columns": 4, "replicas": 2})",
      R"({"type": "placement", "scales": "both_normed", "rows": 3, "columns": 4, "replicas": 2})",
      R"({"type": "magnitude_direction", "size": 8, "form": "plain", "sigma": 0.5})",
      R"({"type": "magnitude_direction", "size": 8, "form": "or", "sigma": 0.5})",
      R"({"type": "magnitude_direction", "size": 8, "form": "product", "sigma": 0.5})",
      R"({"type": "magnitude_direction", "size": 8, "form": "er", "sigma": 0.5})",
      R"({"type": "magnitude_direction", "size": 8, "form": "exp_sum", "sigma": 0.5})",
      R"({"type": "magnitude_direction", "size": 8, "form": "exp_product", "sigma": 0.5})",
      R"({"type": "scale_invariant", "rows": 3, "columns": 4, "signal": 0.5, "sigma": 0.5})",
      R"({"type": "spectrum", "modes": 20, "sigma": 0.2})"};
  return all;
}

struct Trained {
  json rule;
  SimulatedRule simulated;
};

// Momentum, decays of every coupling and several targets, every elementwise method that the simulation has.
std::vector<Trained> trained_methods() {
  std::vector<Trained> all;
  const auto add = [&](SimulatedMethod method, double decay, double target, DecayCoupling coupling) -> Trained& {
    Trained t;
    t.simulated.method = method;
    t.simulated.lr = method == SimulatedMethod::sgd ? 0.02 : 5e-3;
    t.simulated.weight_decay = decay;
    t.simulated.decay_target = target;
    t.simulated.coupling = coupling;
    t.rule = {{"match", json::object()},
              {"method", to_string(method)},
              {"weight_decay", decay},
              {"decay_target", target},
              {"decay_coupling", to_string(coupling)}};
    all.push_back(t);
    return all.back();
  };
  Trained& sgd = add(SimulatedMethod::sgd, 0.05, 1.0, DecayCoupling::l2);
  sgd.simulated.momentum = sgd.rule["momentum"] = 0.8;
  Trained& adamw = add(SimulatedMethod::adamw, 0.1, 0.0, DecayCoupling::lr);
  adamw.simulated.beta2 = adamw.rule["beta2"] = 0.99;
  Trained& lion = add(SimulatedMethod::lion, 0.1, 1.0, DecayCoupling::lr);
  lion.simulated.beta2 = lion.rule["beta2"] = 0.98;
  Trained& signum = add(SimulatedMethod::signum, 0.1, 0.0, DecayCoupling::independent);
  signum.simulated.momentum = signum.rule["momentum"] = 0.7;
  add(SimulatedMethod::adamw, 0.01, 1.0, DecayCoupling::lr2);
  Trained& plain = add(SimulatedMethod::sgd, 0.02, 0.0, DecayCoupling::lr);
  plain.simulated.dampening = plain.rule["dampening"] = 0.5;  // without momentum it does nothing
  return all;
}

json config_of(const json& model, const json& rules, double lr, std::int64_t steps) {
  return {{"model", model},
          {"seed", 6},
          {"device", "cpu"},
          {"threads", 1},
          {"steps", steps},
          {"schedule", {{"shape", "cosine"}, {"warmup_steps", 20}, {"final_factor", 0.1}}},
          {"optimizer", {{"lr", lr}, {"rules", rules}}}};
}

std::vector<double> doubles(const torch::Tensor& tensor) {
  const double* data = tensor.data_ptr<double>();
  return {data, data + tensor.numel()};
}

// Largest difference over the tensor, relative to its largest element.
double difference(const torch::Tensor& tensor, const std::vector<double>& expected) {
  const std::vector<double> got = doubles(tensor);
  double worst = 0.0, largest = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(got[i])) return INFINITY;
    worst = std::max(worst, std::abs(got[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  return worst / (1.0 + largest);  // a single β or log β passes through 0
}

}  // namespace

TEST_CASE(
    "every toy as LibTorch trains it and as the batched simulation does agree at every step, in values and in traces") {
  constexpr std::int64_t steps = 300;
  for (const std::string& text : toy_texts())
    for (const Trained& method : trained_methods()) {
      INFO(text << " by " << method.rule["method"]);
      const RunConfig config =
          read_run_config(config_of(json::parse(text), json::array({method.rule}), method.simulated.lr, steps));
      Session session(config);
      SimulatedRule rule = method.simulated;
      rule.schedule = config.schedule;
      reference::Values at;
      std::map<std::string, BatchOptimizer> optimizers;
      for (const NamedParam& p : session.params()) {
        at[p.name] = doubles(p.tensor);
        optimizers.emplace(p.name, BatchOptimizer(rule, at[p.name].size()));
      }
      double worst = 0.0, worst_loss = 0.0;
      for (std::int64_t step = 0; step < steps; ++step) {
        const reference::ToyPoint point = reference::toy_point(*config.toy, 6, at, step);
        const bool trace = step % 50 == 49;
        const StepResult made = session.step(trace);
        worst_loss = std::max(worst_loss, std::abs(made.loss - point.loss) / (1.0 + std::abs(point.loss)));
        for (const NamedParam& p : session.params()) {
          StepSums sums;
          BatchOptimizer& optimizer = optimizers.at(p.name);
          const double lr = optimizer.lr();
          optimizer.step(at[p.name].data(), point.gradient.at(p.name).data(), trace ? &sums : nullptr);
          worst = std::max(worst, difference(p.tensor, at[p.name]));
          if (!trace) continue;
          const TraceRow expected = simulated_trace(p.name, "", rule.method, lr, sums);
          const auto row =
              std::find_if(made.params.begin(), made.params.end(), [&](const TraceRow& r) { return r.name == p.name; });
          REQUIRE(row != made.params.end());
          for (const TraceField& field : trace_fields()) {
            const double a = (*row).*field.member, b = expected.*field.member;
            // Which map reads which scale the simulation does not know.
            if (std::isnan(b)) continue;
            INFO(p.name << " " << field.name << " " << a << " " << b);
            // The angle between two numbers is 0, and the traced one the square root of a rounding error.
            if (p.tensor.numel() == 1 && field.member == &TraceRow::rotation) continue;
            CHECK(std::abs(a - b) <= 1e-9 * std::abs(b) + 1e-10);
          }
        }
      }
      INFO("values " << worst << ", losses " << worst_loss);
      CHECK(worst <= 1e-12);
      CHECK(worst_loss <= 1e-12);
      const double excess = reference::toy_point(*config.toy, 6, at, steps).excess;
      CHECK(std::abs(session.validate() - excess) <= 1e-11 * (1.0 + excess));
    }
}

TEST_CASE("toys of a scaled map as LibTorch trains them and as its simulation over replicas does agree at every step") {
  // Without noise, whose numbers the two draw in different orders.
  const auto models = {
      std::pair(R"({"type": "placement", "scales": "none", "rows": 3, "columns": 4, "sigma": 0, "replicas": 1})",
                SimulatedMap{3, 4, 1, SimulatedMap::Input::none}),
      std::pair(R"({"type": "placement", "scales": "input", "rows": 3, "columns": 4, "sigma": 0, "replicas": 1})",
                SimulatedMap{3, 4}),
      std::pair(
          R"({"type": "placement", "scales": "both", "rows": 3, "columns": 4, "sigma": 0, "spread": 5, "replicas": 1})",
          SimulatedMap{3, 4, 1, SimulatedMap::Input::shared, ScaleForm::plain, true}),
      std::pair(
          R"({"type": "branch_scales", "curvatures": [1, 0.1, 2], "targets": [0.2, 3, -1], "sigma": 0, "replicas": 1})",
          SimulatedMap{3, 1, 3}),
      std::pair(
          R"({"type": "branch_scales", "curvatures": [1, 0.1, 2], "targets": [0.2, 3, -1], "sigma": 0, "replicas": 1, "own": true})",
          SimulatedMap{3, 1, 3, SimulatedMap::Input::own})};
  constexpr std::int64_t steps = 40;
  for (const auto& [text, map] : models)
    for (const Trained& method : trained_methods()) {
      INFO(text << " by " << method.rule["method"]);
      const RunConfig config =
          read_run_config(config_of(json::parse(text), json::array({method.rule}), method.simulated.lr, steps));
      Session session(config);
      MapReplica r;
      const std::unique_ptr<Toy> toy = make_toy(*config.toy, 6);
      const auto& quadratic = dynamic_cast<const QuadraticToy&>(*toy);
      const auto entries = static_cast<std::int64_t>(map.rows * map.columns);
      const auto whole = [&](const torch::Tensor& t) {
        return doubles(t.reshape({t.numel() == 1 ? 1 : entries}).contiguous());
      };
      r.h = whole(quadratic.curvature());
      r.target = whole(quadratic.target());
      const auto squares = [&](ParamKind kind) {
        double sum = 0.0;
        for (const NamedParam& p : session.params())
          if (p.role.kind == kind && p.role.side != ScaleSide::after)
            for (const double x : doubles(p.tensor)) sum += x * x;
        return sum;
      };
      for (const NamedParam& p : session.params())
        if (p.role.kind == ParamKind::matrix)
          for (const double x : doubles(p.tensor)) r.initial_w.push_back(x);
      r.weights = method.simulated;
      r.weights.schedule = config.schedule;
      r.scales = r.weights;
      double worst = 0.0;
      for (std::int64_t step = 1; step <= steps; ++step) {
        session.step(false);
        MapOptions options;
        options.steps = step;
        const MapResult got = simulate_scaled_map(map, std::span(&r, 1), options).front();
        const double excess = session.validate(), weight_sq = squares(ParamKind::matrix);
        worst = std::max({worst, std::abs(got.loss - excess) / (1.0 + excess),
                          std::abs(got.weight_sq - weight_sq) / (1.0 + weight_sq)});
        if (map.input == SimulatedMap::Input::none) continue;
        const double input_sq = squares(ParamKind::scale);
        worst = std::max(worst, std::abs(got.input_sq - input_sq) / input_sq);
      }
      CHECK(worst <= 1e-12);
    }
}

TEST_CASE("the matrix toys under Muon agree with a Newton-Schulz iteration in plain loops at every step") {
  constexpr std::int64_t steps = 200;
  for (const char* text :
       {R"({"type": "placement", "scales": "none", "rows": 4, "columns": 3, "replicas": 2})",
        R"({"type": "placement", "scales": "input", "rows": 3, "columns": 4, "replicas": 2, "target": "rank_one"})",
        R"({"type": "placement", "scales": "both", "rows": 4, "columns": 4, "replicas": 1})",
        R"({"type": "placement", "scales": "both_normed", "rows": 3, "columns": 4, "replicas": 2})",
        R"({"type": "scale_invariant", "rows": 3, "columns": 5, "signal": 0.5, "sigma": 0.5})"}) {
    INFO(text);
    const json rules =
        json::parse(R"([{"match": {"kind": "matrix"}, "method": "muon", "precision": "auto", "weight_decay": 0.1},
                                       {"match": {"kind": "scale"}, "method": "adamw"}])");
    const RunConfig config = read_run_config(config_of(json::parse(text), rules, 0.02, steps));
    Session session(config);
    SimulatedRule scale_rule;
    scale_rule.lr = 0.02;
    scale_rule.schedule = config.schedule;
    reference::Values at;
    std::map<std::string, BatchOptimizer> scale_steps;
    std::vector<reference::Muon> muons;
    std::string matrix;
    std::size_t blocks = 1, rows = 0, columns = 0;
    for (const NamedParam& p : session.params()) {
      at[p.name] = doubles(p.tensor);
      if (p.role.kind == ParamKind::scale) {
        scale_steps.emplace(p.name, BatchOptimizer(scale_rule, at[p.name].size()));
        continue;
      }
      matrix = p.name;
      blocks = static_cast<std::size_t>(p.role.row_blocks);
      rows = static_cast<std::size_t>(p.tensor.size(0)) / blocks;
      columns = static_cast<std::size_t>(p.tensor.size(1));
      reference::Muon muon;
      // Jordan's quintic, five steps, and his factor of the lr.
      muon.steps.assign(5, {3.4445, -4.7750, 2.0315});
      muon.lr_factor = std::sqrt(std::max(1.0, static_cast<double>(rows) / static_cast<double>(columns)));
      muons.assign(blocks, muon);
    }
    double worst = 0.0;
    for (std::int64_t step = 0; step < steps; ++step) {
      const reference::ToyPoint point = reference::toy_point(*config.toy, 6, at, step);
      session.step(false);
      for (auto& [name, optimizer] : scale_steps) optimizer.step(at[name].data(), point.gradient.at(name).data());
      reference::Decay decay;
      decay.weight_decay = 0.1;
      decay.lr = 0.02 * config.schedule.factor(step);
      for (std::size_t b = 0; b < blocks; ++b) {
        const auto block_of = [&](const std::vector<double>& all) {
          reference::Matrix m(rows, columns);
          std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(b * rows * columns), rows * columns, m.x.begin());
          return m;
        };
        reference::Matrix p = block_of(at[matrix]);
        muons[b].step(p, block_of(point.gradient.at(matrix)), decay);
        std::copy(p.x.begin(), p.x.end(), at[matrix].begin() + static_cast<std::ptrdiff_t>(b * rows * columns));
      }
      for (const NamedParam& p : session.params()) worst = std::max(worst, difference(p.tensor, at[p.name]));
    }
    CHECK(worst <= 1e-12);
  }
}
