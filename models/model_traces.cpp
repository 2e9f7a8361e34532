#include "scalevec/models/model_traces.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace scalevec {
namespace {

std::vector<double> to_doubles(const torch::Tensor& t) {
  const torch::Tensor flat = t.detach().to(torch::kCPU, torch::kFloat64).contiguous();
  const double* data = flat.const_data_ptr<double>();
  return {data, data + flat.numel()};
}

}  // namespace

ModelTraces ModelTraces::measure(const Model& model) {
  const torch::NoGradGuard no_grad;
  const auto parameters = model.named_parameters();
  ModelTraces traces;
  traces.before_norm_ = model.matrices_before_norm();
  for (const ScaleLink& link : model.scale_links()) {
    const torch::Tensor effective = link.gamma.value();
    std::vector<double> gamma = to_doubles(effective);
    Scale& scale = traces.scales_[link.scale];
    torch::Tensor squares;  // ‖w_j‖², of columns or rows
    for (const std::string& map : link.maps) {
      const torch::Tensor& matrix = parameters[map];
      const std::int64_t columns = matrix.size(1), stacked = link.block == 0 ? effective.numel() / columns : 1;
      torch::Tensor norms = at::linalg_vector_norm(stacked > 1 ? matrix.view({stacked, -1, columns}) : matrix, 2,
                                                   {stacked > 1 ? 1 : 0}, false, torch::kFloat64)
                                .square()
                                .flatten();
      if (link.block > 0) norms = norms.view({effective.size(0) / link.block, -1, link.block}).sum(1).flatten();
      squares = squares.defined() ? squares + norms : norms;
    }
    for (const std::string& map : link.rows) {
      const torch::Tensor norms = at::linalg_vector_norm(parameters[map], 2, {1}, false, torch::kFloat64).square();
      squares = squares.defined() ? squares + norms : norms;
    }
    if (squares.defined() && squares.numel() == effective.numel()) {
      const std::vector<double> column_sq = to_doubles(squares);
      scale.precond_min = scale.precond_max = gamma[0] * gamma[0];
      scale.imbalance = 0.0;
      for (std::size_t j = 0; j < gamma.size(); ++j) {
        const double gamma_sq = gamma[j] * gamma[j];
        scale.precond_min = std::min(scale.precond_min, gamma_sq);
        scale.precond_max = std::max(scale.precond_max, gamma_sq + column_sq[j]);
        scale.imbalance += (gamma_sq - column_sq[j]) / static_cast<double>(gamma.size());
      }
    }
    scale.quantiles = quantiles(gamma, kGammaQuantiles);
  }
  return traces;
}

void ModelTraces::merge_into(std::vector<TraceRow>& rows) const {
  for (TraceRow& row : rows) {
    if (const auto it = scales_.find(row.name); it != scales_.end()) {
      row.gamma_quantiles = it->second.quantiles;
      row.precond_min = it->second.precond_min;
      row.precond_max = it->second.precond_max;
      row.imbalance = it->second.imbalance;
    }
    if (std::find(before_norm_.begin(), before_norm_.end(), row.name) != before_norm_.end() && row.param_norm > 0.0)
      row.directional_lr = row.scheduled_lr / (row.method == "sgd" ? row.param_norm * row.param_norm : row.param_norm);
  }
}

}  // namespace scalevec
