#include "experiments/train/policy_record.hpp"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "experiments/train/session.hpp"
#include "optim/config/option_json.hpp"

namespace scalevec::experiments {

using nlohmann::json;

namespace {

std::string precision_words(const RunConfig& config) {
  if (config.autocast == "none") return config.dtype + " throughout";
  return "linear maps in " + config.autocast +
         " (autocast), attention from and to it; parameters, norms, loss and optimizer in " + config.dtype;
}

// The options that the method has of its own, which the row's columns don't show.
json own_options(const MethodOptions& options) {
  static const std::vector<std::string> columns{"lr",           "initial_lr",     "weight_decay",
                                                "decay_target", "decay_coupling", "clip"};
  const std::unique_ptr<MethodOptions> copy = make_method_options(options.method());
  copy->assign(options);
  Options fields = copy->fields();
  std::erase_if(fields, [](const Option& field) {
    return std::find(columns.begin(), columns.end(), field.key) != columns.end();
  });
  return json_of_options(fields);
}

// In the order of the elements, so that it is the same for any number of threads.
double norm_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.detach().to(torch::kCPU).contiguous();
  double sum = 0.0;
  const auto add = [&](const auto* data) {
    for (std::int64_t i = 0; i < flat.numel(); ++i) sum += static_cast<double>(data[i]) * static_cast<double>(data[i]);
  };
  if (flat.scalar_type() == torch::kFloat32)
    add(flat.const_data_ptr<float>());
  else
    add(flat.to(torch::kFloat64).const_data_ptr<double>());
  return std::sqrt(sum);
}

}  // namespace

json policy_json(const RunConfig& config, const models::Model& model, const RolePolicy& policy,
                 const std::vector<PolicyRow>& rows) {
  const std::vector<NamedParam> params = model_params(model);
  check_qk_clip(model, policy);
  const std::set<std::string> before_norm(model.matrices_before_norm().begin(), model.matrices_before_norm().end());
  json out = {{"max_norm", policy.max_norm},
              {"precision", precision_words(config)},
              {"words", describe(policy, rows)},
              {"rows", json::array()},
              {"groups", json::array()}};
  for (const PolicyRow& row : rows) {
    const MethodOptions& o = *row.options;
    json entry = {{"name", row.name},
                  {"shape", row.shape},
                  {"count", row.count},
                  {"role", describe(row.role)},
                  {"group", trace_group(row.role)},
                  {"rule", row.rule},
                  {"method", o.method()},
                  {"lr", o.lr()},
                  {"lr_mult", row.lr_mult},
                  {"weight_decay", o.weight_decay()},
                  {"decay_coupling", to_string(o.decay_coupling())},
                  {"decay_target", o.decay_target()},
                  {"clip", o.clip()},
                  {"rounding", o.rounding()},
                  {"options", own_options(o)},
                  {"row_blocks", row.role.row_blocks},
                  {"before_norm", before_norm.count(row.name) > 0},
                  {"norm", norm_of(params[out["rows"].size()].tensor)}};
    out["rows"].push_back(std::move(entry));
  }
  for (const json& row : out["rows"]) {
    json* group = nullptr;
    for (json& g : out["groups"])
      if (g["group"] == row["group"] && g["rule"] == row["rule"]) group = &g;
    if (!group) {
      out["groups"].push_back({{"group", row["group"]},
                               {"rule", row["rule"]},
                               {"tensors", 0},
                               {"count", 0},
                               {"method", row["method"]},
                               {"lr", row["lr"]},
                               {"weight_decay", row["weight_decay"]},
                               {"decay_coupling", row["decay_coupling"]},
                               {"decay_target", row["decay_target"]},
                               {"clip", row["clip"]}});
      group = &out["groups"].back();
    }
    (*group)["tensors"] = (*group)["tensors"].get<std::int64_t>() + 1;
    (*group)["count"] = (*group)["count"].get<std::int64_t>() + row["count"].get<std::int64_t>();
  }
  out["scales"] = json::array();
  std::map<std::string, std::int64_t> rows_of;
  for (const PolicyRow& row : rows) rows_of[row.name] = row.shape.empty() ? 0 : row.shape.front();
  for (const models::ScaleLink& link : model.scale_links()) {
    std::int64_t readers = 0;
    for (const std::string& map : link.maps) readers += rows_of[map];
    out["scales"].push_back({{"name", link.scale},
                             {"form", to_string(link.gamma.form())},
                             {"rows", readers},
                             {"readers", link.maps},
                             {"why", models::class_reason(link)}});
  }
  out["warnings"] = config.decoder ? config.decoder->warnings() : std::vector<std::string>{};
  return out;
}

json start_json(const RunConfig& config, const StartReport& report) {
  if (!config.from) return nullptr;
  json out = {{"path", config.from->path},
              {"sha256", config.from->sha256},
              {"moved", report.moved},
              {"inexact", report.inexact},
              {"logit_gap", report.logit_gap}};
  if (config.from->step >= 0) out["step"] = config.from->step;
  return out;
}

json policy_json(const RunConfig& config) {
  StartReport report;
  const auto model = make_model(config, torch::kCPU, &report);
  const RolePolicy policy = read_policy(config);
  json out = policy_json(config, *model, policy, policy.resolve(model_params(*model)));
  if (config.from) out["from"] = start_json(config, report);
  return out;
}

}  // namespace scalevec::experiments
