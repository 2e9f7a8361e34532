#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <string>
#include <vector>

#include "models/initial_value.hpp"
#include "models/model_traces.hpp"
#include "models/toy/toy.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/toy_reference.hpp"

using namespace scalevec;
using namespace scalevec::models;

namespace {

struct ToyCase {
  std::string name;
  ToyOptions options;
};

// Every toy in every arrangement, small, noisy, with no two sizes alike.
std::vector<ToyCase> cases() {
  std::vector<ToyCase> all;
  const auto add = [&](const std::string& name, const ToyOptions& options) { all.push_back({name, options}); };
  add("output scale", OutputScaleOptions{.replicas = 5, .curvature = 0.7});
  for (const bool scale : {true, false}) {
    add("input scale",
        InputScaleOptions{
            .rows = 3, .replicas = 4, .curvature = 0.7, .target = 1.3, .sigma = 0.6, .scale = scale, .init_std = 0.5});
    add("spectrum",
        SpectrumOptions{
            .modes = 6, .a = 1.5, .b = -0.3, .target = 1.3, .scale = scale, .initial_weight = 0.2, .sigma = 0.6});
  }
  for (const bool own : {true, false})
    add("branches", BranchScalesOptions{.curvatures = {1.0, 0.3, 2.0},
                                        .targets = {0.1, 3.0, -1.0},
                                        .own = own,
                                        .replicas = 4,
                                        .sigma = 0.6,
                                        .init_std = 0.5});
  for (const char* scales : {"none", "input", "both", "both_normed"})
    for (const char* target : {"full", "rank_one", "diagonal"})
      add(std::string("placement ") + scales + " " + target, PlacementOptions{.rows = 3,
                                                                              .columns = 4,
                                                                              .replicas = 2,
                                                                              .scales = scales,
                                                                              .target = target,
                                                                              .spread = 7.0,
                                                                              .curvature = 0.7,
                                                                              .sigma = 0.6,
                                                                              .init_std = 0.5});
  for (const char* form : {"plain", "or", "product", "er", "exp_sum", "exp_product"})
    add(std::string("form ") + form,
        MagnitudeDirectionOptions{
            .size = 5, .form = form, .curvature = 0.7, .magnitude_curvature = 0.1, .target = 1.4, .sigma = 0.6});
  add("scale-invariant", ScaleInvariantOptions{.rows = 3, .columns = 4, .signal = 0.8, .sigma = 0.6});
  return all;
}

// Away from the special places where a toy starts.
void shake(Toy& toy) {
  const torch::NoGradGuard no_grad;
  for (auto& p : toy.named_parameters())
    p.value().add_(normal_values(p.value().sizes(), 0.3, 9, p.key(), torch::kFloat64));
}

reference::Values values_of(const Toy& toy) {
  reference::Values out;
  for (const auto& p : toy.named_parameters()) {
    const torch::Tensor flat = p.value().detach().contiguous();
    out[p.key()] = {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
  }
  return out;
}

}  // namespace

TEST_CASE("every toy's loss, excess and gradient are those of its formula in plain loops") {
  for (const ToyCase& c : cases()) {
    INFO(c.name);
    const auto toy = make_toy(c.options, 5);
    CHECK(!toy->needs_tokens());
    toy->check_roles();
    shake(*toy);
    const reference::Values at = values_of(*toy);
    for (const std::int64_t step : {0, 7}) {
      const reference::ToyPoint expected = reference::toy_point(c.options, 5, at, step);
      toy->zero_grad();
      const torch::Tensor loss = toy->loss({}, step);
      loss.backward();
      CHECK(std::abs(loss.item<double>() - expected.loss) <= 1e-13 * (1.0 + std::abs(expected.loss)));
      CHECK(std::abs(toy->excess() - expected.excess) <= 1e-13 * (1.0 + expected.excess));
      CHECK(expected.gradient.size() == toy->named_parameters().size());
      for (const auto& p : toy->named_parameters()) {
        INFO(p.key());
        REQUIRE(p.value().scalar_type() == torch::kFloat64);
        const auto& gradient = expected.gradient.at(p.key());
        REQUIRE(static_cast<std::int64_t>(gradient.size()) == p.value().numel());
        const torch::Tensor got = p.value().grad().contiguous();
        for (std::size_t i = 0; i < gradient.size(); ++i)
          CHECK(std::abs(got.data_ptr<double>()[i] - gradient[i]) <= 1e-13 * (1.0 + std::abs(gradient[i])));
      }
    }
  }
}

TEST_CASE("every toy's gradient agrees with central differences of its loss") {
  for (const ToyCase& c : cases()) {
    INFO(c.name);
    const auto toy = make_toy(c.options, 5);
    shake(*toy);
    toy->loss({}, 3).backward();
    const torch::NoGradGuard no_grad;
    for (auto& p : toy->named_parameters()) {
      INFO(p.key());
      const torch::Tensor value = p.value();
      double* x = value.data_ptr<double>();
      for (std::int64_t i = 0; i < value.numel(); ++i) {
        const double before = x[i], h = 1e-5;
        const auto loss_at = [&](double offset) {
          x[i] = before + offset;
          const double loss = toy->loss({}, 3).item<double>();
          x[i] = before;
          return loss;
        };
        const double difference = (8.0 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12.0 * h);
        CHECK(std::abs(value.grad().flatten()[i].item<double>() - difference) <= 1e-8 * (1.0 + std::abs(difference)));
      }
    }
  }
}

TEST_CASE("toys start where they say, and scale vectors and noise change nothing else") {
  const auto both = make_toy(PlacementOptions{.replicas = 2, .scales = "both"}, 3);
  const auto none = make_toy(PlacementOptions{.replicas = 2, .scales = "none", .sigma = 0.0}, 3);
  CHECK(both->named_parameters()["map.weight"].equal(none->named_parameters()["map.weight"]));
  CHECK(both->excess() == none->excess());
  CHECK(both->role("map.weight").row_blocks == 2);
  CHECK(make_toy(PlacementOptions{.replicas = 2, .target = "diagonal", .init_std = 0.0, .initial_weight = 1.0}, 3)
            ->excess() == 0.0);
  CHECK(make_toy(SpectrumOptions{}, 1)->named_parameters()["weight"].abs().max().item<double>() == 0.0);
  for (const char* form : {"plain", "or", "product", "er", "exp_sum", "exp_product"}) {
    const auto toy = make_toy(MagnitudeDirectionOptions{.form = form}, 1);
    CHECK((toy->scale_links().at(0).gamma.value() - 1.0).abs().max().item<double>() <= 1e-15);
  }
}

TEST_CASE("the classes of the placed scales, and the traces of stacked replicas") {
  for (const char* scales : {"both", "both_normed"}) {
    const std::int64_t copies = 3, rows = 4, columns = 5;
    const auto toy =
        make_toy(PlacementOptions{.rows = rows, .columns = columns, .replicas = copies, .scales = scales}, 3);
    shake(*toy);
    const bool normed = std::string(scales) == "both_normed";
    CHECK(trace_group(toy->role("input.gamma")) == "scale.input");
    CHECK(trace_group(toy->role("output.gamma")) == (normed ? "scale.output" : "scale.input"));
    std::vector<ModelTraceRow> traces;
    for (const auto& p : toy->named_parameters()) traces.emplace_back().name = p.key();
    ModelTraces measured(*toy);
    measured.measure();
    for (ModelTraceRow& row : traces) measured.merge_into(row);
    const reference::Values at = values_of(*toy);
    for (const ModelTraceRow& row : traces) {
      INFO(scales << " " << row.name);
      if (row.name == "map.weight" || (normed && row.name == "output.gamma")) {
        CHECK(std::isnan(row.imbalance));
        continue;
      }
      const bool input = row.name == "input.gamma";
      double least = INFINITY, most = 0.0, imbalance = 0.0;
      const auto& gamma = at.at(row.name);
      for (std::int64_t r = 0; r < copies; ++r)
        for (std::int64_t k = 0; k < (input ? columns : rows); ++k) {
          const double g = gamma[static_cast<std::size_t>(r * (input ? columns : rows) + k)];
          double squares = 0.0;
          for (std::int64_t l = 0; l < (input ? rows : columns); ++l) {
            const std::int64_t i = input ? l : k, j = input ? k : l;
            squares += std::pow(at.at("map.weight")[static_cast<std::size_t>((r * rows + i) * columns + j)], 2);
          }
          least = std::min(least, g * g);
          most = std::max(most, g * g + squares);
          imbalance += (g * g - squares) / static_cast<double>(gamma.size());
        }
      CHECK(std::abs(row.precond_min - least) <= 1e-14);
      CHECK(std::abs(row.precond_max - most) <= 1e-13);
      CHECK(std::abs(row.imbalance - imbalance) <= 1e-13);
    }
  }
  CHECK(make_toy(PlacementOptions{.replicas = 1, .scales = "both_normed"}, 3)->matrices_before_norm().size() == 1);
  CHECK(make_toy(ScaleInvariantOptions{}, 3)->matrices_before_norm().size() == 1);
}

TEST_CASE("a gradient before a norm is orthogonal to the weight and shrinks with it") {
  const auto toy = make_toy(ScaleInvariantOptions{.signal = 0.5}, 2);
  torch::Tensor w = toy->named_parameters()["weight"];
  toy->loss({}, 4).backward();
  const torch::Tensor first = w.grad().clone();
  CHECK(std::abs((first * w.detach()).sum().item<double>()) <= 1e-13);
  {
    const torch::NoGradGuard no_grad;
    w.mul_(2.0);
  }
  toy->zero_grad();
  toy->loss({}, 4).backward();
  CHECK((2.0 * w.grad() - first).abs().max().item<double>() <= 1e-15);
}
