#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/decoder.hpp"
#include "models/initial_value.hpp"
#include "models/model_traces.hpp"
#include "models/toy/toy.hpp"
#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec::models;

namespace {

using scalevec::models::ModelTraceRow;
using scalevec::models::ModelTraces;

std::vector<ModelTraceRow> rows_of(const scalevec::models::Model& model, const std::string& method, double lr,
                                   double norm) {
  std::vector<ModelTraceRow> rows;
  for (const auto& p : model.named_parameters()) {
    ModelTraceRow row;
    row.name = p.key();
    row.method = method;
    row.scheduled_lr = lr;
    row.param_norm = norm;
    rows.push_back(row);
  }
  return rows;
}

void merge_traces(const scalevec::models::Model& model, std::vector<ModelTraceRow>& rows) {
  ModelTraces traces(model);
  traces.measure();
  for (ModelTraceRow& row : rows) traces.merge_into(row);
}

bool near(double a, double b) { return std::abs(a - b) <= 1e-12 * std::max(1.0, std::abs(b)); }

}  // namespace

TEST_CASE("preconditioner and imbalance agree with loops over the stacked columns") {
  scalevec::models::DecoderOptions o;
  o.vocab_size = 11;
  o.width = 12;
  o.layers = 2;
  o.heads = 2;
  o.kv_heads = 1;
  o.qk_norm = true;
  o.mlp_width = 20;
  scalevec::models::Decoder model(o, 1);
  {
    const torch::NoGradGuard no_grad;
    for (const auto& p : model.named_parameters())
      p.value().add_(scalevec::models::normal_values(p.value().sizes(), 0.3, 2, p.key()));
  }
  const auto parameters = model.named_parameters();
  std::vector<ModelTraceRow> rows = rows_of(model, "adamw", 0.01, 4.0);
  merge_traces(model, rows);

  const auto readers = [](const std::string& name) -> std::vector<std::string> {
    const std::string layer = name.substr(0, name.rfind("layers.", 0) == 0 ? 9 : 0);
    if (name.ends_with("attn_norm.gamma"))
      return {layer + "attn.q.weight", layer + "attn.k.weight", layer + "attn.v.weight"};
    if (name.ends_with("ffn_norm.gamma")) return {layer + "ffn.gate.weight", layer + "ffn.up.weight"};
    if (name == "final_norm.gamma") return {"embed.weight"};
    return {};
  };
  int scales = 0, with_readers = 0;
  for (const ModelTraceRow& row : rows) {
    INFO(row.name);
    if (!row.name.ends_with("gamma")) {
      CHECK(row.gamma_quantiles.empty());
      CHECK(std::isnan(row.imbalance));
      continue;
    }
    ++scales;
    const torch::Tensor& gamma = parameters[row.name];
    std::vector<double> sorted;
    for (std::int64_t j = 0; j < gamma.size(0); ++j) sorted.push_back(gamma[j].item<float>());
    std::sort(sorted.begin(), sorted.end());
    REQUIRE(row.gamma_quantiles.size() == 7);
    CHECK(row.gamma_quantiles.front() == sorted.front());
    CHECK(row.gamma_quantiles.back() == sorted.back());
    CHECK(near(row.gamma_quantiles[3], 0.5 * (sorted[(sorted.size() - 1) / 2] + sorted[sorted.size() / 2])));

    const auto maps = readers(row.name);
    if (maps.empty()) {
      CHECK(std::isnan(row.precond_min));
      CHECK(std::isnan(row.precond_max));
      CHECK(std::isnan(row.imbalance));
      continue;
    }
    ++with_readers;
    double least = INFINITY, most = -INFINITY, imbalance = 0.0;
    std::vector<double> gamma_sq, column_sq;
    for (std::int64_t j = 0; j < gamma.size(0); ++j) {
      const double g = gamma[j].item<float>();
      double column = 0.0;
      for (const auto& map : maps)
        for (std::int64_t i = 0; i < parameters[map].size(0); ++i)
          column += std::pow(static_cast<double>(parameters[map][i][j].item<float>()), 2);
      least = std::min(least, g * g);
      most = std::max(most, g * g + column);
      imbalance += g * g - column;
      gamma_sq.push_back(g * g);
      column_sq.push_back(column);
    }
    const torch::Tensor both =
        torch::stack({torch::tensor(gamma_sq, torch::kFloat64), torch::tensor(column_sq, torch::kFloat64)});
    CHECK(row.gamma_w_correlation == Approx(torch::corrcoef(both)[0][1].item<double>()).epsilon(1e-9));
    CHECK(near(row.w_gamma_ratio, std::sqrt((both[1].sum() / both[0].sum()).item<double>())));
    CHECK(near(row.precond_min, least));
    CHECK(near(row.precond_max, most));
    CHECK(near(row.imbalance, imbalance / static_cast<double>(gamma.size(0))));
  }
  CHECK(scales == 2 * 4 + 1);
  CHECK(with_readers == 2 * 2 + 1);
}

TEST_CASE("every kind of reader: branches, rows, shared heads, experts, in parts, the same bits for any thread count") {
  for (const char* preset : {"plain", "hg", "dp", "dnp", "or"})
    for (const int experts : {0, 3}) {
      scalevec::models::DecoderOptions o;
      o.vocab_size = 600;  // embedding and MLP are summed in several parts
      o.width = 96;
      o.layers = 1;
      o.heads = 4;
      o.kv_heads = 2;
      o.qk_norm = true;
      o.mlp_width = 416;
      o.scales = scalevec::models::scale_preset(preset);
      o.scales.allow_inert = true;
      o.moe.experts = experts;
      if (experts > 0) o.moe.top_k = 2;
      scalevec::models::Decoder model(o, 1);
      for (const auto dtype : {torch::kFloat32, torch::kFloat64}) {
        model.to(dtype);
        {
          const torch::NoGradGuard no_grad;
          for (const auto& p : model.named_parameters())
            p.value().add_(scalevec::models::normal_values(p.value().sizes(), 0.3, 2, p.key()).to(dtype));
        }
        const auto parameters = model.named_parameters();
        std::vector<ModelTraceRow> rows = rows_of(model, "adamw", 0.01, 4.0), again = rows;
        const int threads = at::get_num_threads();
        at::set_num_threads(1);
        merge_traces(model, rows);
        at::set_num_threads(4);
        merge_traces(model, again);
        at::set_num_threads(threads);
        std::size_t related = 0;
        for (const scalevec::models::ScaleLink& link : model.scale_links()) {
          INFO(preset << " " << experts << " " << link.scale);
          const auto is_its = [&](const ModelTraceRow& r) { return r.name == link.scale; };
          const ModelTraceRow row = *std::find_if(rows.begin(), rows.end(), is_its);
          const ModelTraceRow other = *std::find_if(again.begin(), again.end(), is_its);
          CHECK(row.gamma_quantiles == other.gamma_quantiles);
          // In double of the stored parameters; of OR γ = β·α/RMS(α).
          torch::Tensor gamma = parameters[link.scale].detach().to(torch::kFloat64);
          if (link.scale.ends_with(".alpha"))
            gamma = gamma *
                    parameters[link.scale.substr(0, link.scale.size() - 5) + "beta"].detach().to(torch::kFloat64) /
                    gamma.square().mean().sqrt();
          const torch::Tensor gamma_sq = gamma.square();
          torch::Tensor squares = torch::zeros_like(gamma_sq);
          for (const std::string& map : link.maps) {
            torch::Tensor columns = parameters[map].detach().to(torch::kFloat64).square().sum(0);
            if (link.block > 0) {
              // Query heads side by side share one of γ's: column (head, copy, element).
              columns = columns.view({gamma_sq.size(0) / link.block, -1, link.block}).sum(1).flatten();
            }
            squares += columns;
          }
          for (const std::string& map : link.rows)
            squares += parameters[map].detach().to(torch::kFloat64).square().sum(1);
          if (!link.folds()) {
            CHECK(std::isnan(row.imbalance));
            continue;
          }
          ++related;
          CHECK(near(row.precond_min, gamma_sq.min().item<double>()));
          CHECK(near(row.precond_max, (gamma_sq + squares).max().item<double>()));
          CHECK(near(row.imbalance, (gamma_sq - squares).mean().item<double>()));
          CHECK(row.precond_min == other.precond_min);
          CHECK(row.precond_max == other.precond_max);
          CHECK(row.imbalance == other.imbalance);
        }
        CHECK(related >= 3);
      }
    }
}

TEST_CASE("directional lr of matrices before a norm, by method") {
  scalevec::models::DecoderOptions o;
  o.vocab_size = 11;
  o.width = 8;
  o.layers = 1;
  o.heads = 2;
  o.qk_norm = true;
  scalevec::models::Decoder model(o, 1);
  for (const auto& [method, expected] : {std::pair<const char*, double>{"adamw", 0.01 / 4.0}, {"sgd", 0.01 / 16.0}}) {
    std::vector<ModelTraceRow> rows = rows_of(model, method, 0.01, 4.0);
    merge_traces(model, rows);
    for (const ModelTraceRow& row : rows) {
      INFO(row.name);
      const bool before_norm = row.name.ends_with("attn.q.weight") || row.name.ends_with("attn.k.weight");
      CHECK((before_norm ? near(row.directional_lr, expected) : std::isnan(row.directional_lr)));
    }
  }
}

TEST_CASE("the toy's gradient is curvature times error plus the shared noise") {
  scalevec::models::OutputScaleOptions o;
  o.replicas = 33;
  o.curvature = 0.7;
  o.target = 2.5;
  o.sigma = 1.3;
  o.initial = 0.25;
  const auto made = scalevec::models::make_toy(o, 12);
  scalevec::models::Toy& toy = *made;
  CHECK(!toy.needs_tokens());
  torch::Tensor gamma = toy.named_parameters()["gamma"];
  REQUIRE(gamma.scalar_type() == torch::kFloat64);
  CHECK(std::abs(toy.excess() - 0.5 * 0.7 * 2.25 * 2.25) <= 1e-15);
  {
    const torch::NoGradGuard no_grad;
    gamma.add_(torch::linspace(-3.0, 3.0, 33, torch::kFloat64));
  }
  for (const std::int64_t step : {0, 7}) {
    toy.zero_grad();
    const torch::Tensor loss = toy.loss({}, step);
    loss.backward();
    double expected_loss = 0.0, expected_excess = 0.0;
    for (std::int64_t i = 0; i < 33; ++i) {
      const double xi = scalevec::random_normal(12, scalevec::stream_of("toy.noise") + static_cast<std::uint64_t>(i),
                                                static_cast<std::uint64_t>(step));
      const double g = gamma[i].item<double>();
      const double pull = 0.7 * (g - 2.5), push = 1.3 * xi;
      CHECK(std::abs(gamma.grad()[i].item<double>() - (pull + push)) <= 4e-16 * (std::abs(pull) + std::abs(push)));
      expected_loss += 0.5 * 0.7 * (g - 2.5) * (g - 2.5) + 1.3 * xi * g;
      expected_excess += 0.5 * 0.7 * (g - 2.5) * (g - 2.5) / 33.0;
    }
    CHECK(std::abs(loss.item<double>() - expected_loss) <= 1e-12);
    CHECK(std::abs(toy.excess() - expected_excess) <= 1e-13);
  }

  const scalevec::ParamRole& role = toy.role("gamma");
  CHECK(scalevec::trace_group(role) == "scale.output");
  CHECK(role.site == "toy");
  std::vector<ModelTraceRow> rows = rows_of(toy, "adamw", 0.01, 1.0);
  merge_traces(toy, rows);
  CHECK(rows[0].gamma_quantiles.front() == gamma[0].item<double>());
  CHECK(std::isnan(rows[0].imbalance));
}
