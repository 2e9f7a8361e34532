#include "models/model_traces.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "models/kernels/row_kernels.hpp"
#include "optim/parallel/parallel.hpp"

namespace scalevec::models {
namespace {

// Elements of a part: large enough for a thread to be worth starting, and at most 64 parts a matrix.
constexpr std::int64_t kPartElements = 1 << 15;

// What the kernels read in place.
bool plain(const torch::Tensor& t) {
  return t.device().is_cpu() && t.is_contiguous() &&
         (t.scalar_type() == torch::kFloat32 || t.scalar_type() == torch::kFloat64);
}

void copy_to_doubles(const torch::Tensor& from, std::vector<double>& to) {
  const torch::Tensor flat = from.to(torch::kCPU, torch::kFloat64).contiguous();
  const double* data = flat.const_data_ptr<double>();
  to.assign(data, data + flat.numel());
}

template <class T>
void sum_rows(const torch::Tensor& matrix, bool by_column, std::int64_t begin, std::int64_t end, double* sums) {
  const T* data = matrix.const_data_ptr<T>();
  const std::int64_t d = matrix.size(1);
  if (by_column)
    kernels::row_kernels<T>().column_squares(data, sums, d, begin, end);
  else
    kernels::row_kernels<T>().row_squares(data, sums, d, begin, end);
}

// How γ and its columns go together.
void add_relation(const std::vector<double>& gamma, const std::vector<double>& column_sq, double& ratio,
                  double& correlation) {
  const double n = static_cast<double>(gamma.size());
  double x = 0.0, y = 0.0, xx = 0.0, yy = 0.0, xy = 0.0;
  for (std::size_t j = 0; j < gamma.size(); ++j) {
    x += gamma[j] * gamma[j] / n;
    y += column_sq[j] / n;
  }
  if (x > 0.0) ratio = std::sqrt(y / x);
  for (std::size_t j = 0; j < gamma.size(); ++j) {
    const double dx = gamma[j] * gamma[j] - x, dy = column_sq[j] - y;
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  }
  if (varies(xx, x, n) && varies(yy, y, n)) correlation = xy / std::sqrt(xx * yy);
}

void add_step(const std::vector<double>& before, const std::vector<double>& after, ModelTraceRow& row) {
  double step_sq = 0.0, along = 0.0, length_sq = 0.0;
  for (std::size_t j = 0; j < before.size(); ++j) {
    const double step = after[j] - before[j];
    step_sq += step * step;
    along += before[j] * step;
    length_sq += before[j] * before[j];
  }
  row.gamma_update_norm = std::sqrt(step_sq);
  if (length_sq > 0.0) row.gamma_update_along = along / std::sqrt(length_sq);
}

}  // namespace

ModelTraces::ModelTraces(const Model& model) {
  const torch::NoGradGuard no_grad;
  const auto parameters = model.named_parameters();
  before_norm_.insert(model.matrices_before_norm().begin(), model.matrices_before_norm().end());
  for (const ScaleLink& link : model.scale_links()) {
    scale_of_[link.scale] = scales_.size();
    Scale scale;
    scale.form = link.gamma;
    scale.size = link.gamma.value().numel();
    scale.block = link.block;
    scales_.push_back(std::move(scale));
    parts_of_.emplace_back();
    const std::int64_t size = scales_.back().size;
    std::int64_t columns = 0;
    for (const std::string& map : link.maps) columns = std::max(columns, parameters[map].size(1));
    // Heads of γ share columns (block > 0); a γ of several times the columns is of replicas that lie one below the
    // other.
    const bool replicas = link.block == 0 && columns > 0 && size % columns == 0;
    if (columns > 0 && !replicas && !(link.block > 0 && columns % size == 0)) continue;
    for (const std::string& map : link.maps) {
      const torch::Tensor& matrix = parameters[map];
      const std::int64_t count = replicas ? size / columns : 1, rows = matrix.size(0) / count;
      for (std::int64_t i = 0; i < count; ++i)
        add_parts(matrix.narrow(0, i * rows, rows), true, scales_.size() - 1, static_cast<std::size_t>(i * columns));
    }
    for (const std::string& map : link.rows)
      if (parameters[map].size(0) == size) add_parts(parameters[map], false, scales_.size() - 1, 0);
  }
}

void ModelTraces::add_parts(const torch::Tensor& matrix, bool by_column, std::size_t scale, std::size_t first) {
  const std::int64_t rows = matrix.size(0), d = matrix.size(1);
  const std::int64_t elements = std::max(kPartElements, (rows * d + 63) / 64);
  const std::int64_t step = plain(matrix) ? std::max<std::int64_t>(1, elements / std::max<std::int64_t>(1, d)) : rows;
  for (std::int64_t begin = 0; begin < rows; begin += step) {
    parts_of_[scale].push_back(parts_.size());
    parts_.push_back({matrix.detach(),
                      by_column,
                      first + (by_column ? 0 : static_cast<std::size_t>(begin)),
                      begin,
                      std::min(rows, begin + step),
                      {}});
  }
}

torch::Tensor ModelTraces::squares_on_device(const Part& part) {
  const std::int64_t along = part.by_column ? 0 : 1;
  return at::linalg_vector_norm(part.matrix.narrow(0, part.begin, part.end - part.begin), 2, {along}, false,
                                torch::kFloat64)
      .square();
}

void ModelTraces::sum_squares(Part& part) const {
  if (!plain(part.matrix)) return copy_to_doubles(squares_on_device(part), part.sums);
  part.sums.assign(static_cast<std::size_t>(part.by_column ? part.matrix.size(1) : part.end - part.begin), 0.0);
  if (part.matrix.scalar_type() == torch::kFloat32)
    sum_rows<float>(part.matrix, part.by_column, part.begin, part.end, part.sums.data());
  else
    sum_rows<double>(part.matrix, part.by_column, part.begin, part.end, part.sums.data());
}

void ModelTraces::finish(std::size_t index) {
  Scale& scale = scales_[index];
  const auto size = static_cast<std::size_t>(scale.size);
  scale.squares.assign(parts_of_[index].empty() ? 0 : size, 0.0);
  for (const std::size_t p : parts_of_[index]) {
    const Part& part = parts_[p];
    for (std::size_t c = 0; c < part.sums.size(); ++c) {
      std::size_t j = part.first + c;
      if (scale.block > 0 && part.by_column) {
        const auto block = static_cast<std::size_t>(scale.block), shared = part.sums.size() / size;
        j = c / (block * shared) * block + c % block;
      }
      scale.squares[j] += part.sums[c];
    }
  }
  if (!scale.squares.empty()) {
    scale.precond_min = scale.precond_max = scale.gamma[0] * scale.gamma[0];
    double sum = 0.0;
    for (std::size_t j = 0; j < size; ++j) {
      const double gamma_sq = scale.gamma[j] * scale.gamma[j];
      scale.precond_min = std::min(scale.precond_min, gamma_sq);
      scale.precond_max = std::max(scale.precond_max, gamma_sq + scale.squares[j]);
      sum += gamma_sq - scale.squares[j];
    }
    scale.imbalance = sum / static_cast<double>(size);
    add_relation(scale.gamma, scale.squares, scale.w_gamma_ratio, scale.gamma_w_correlation);
  }
  scale.quantiles = quantiles(scale.gamma, kGammaQuantiles);
}

void ModelTraces::measure() {
  const torch::NoGradGuard no_grad;
  for (Scale& scale : scales_) {
    copy_to_doubles(scale.form.value_in_double(), scale.gamma);
    scale.before = scale.gamma;
    scale.after.clear();
  }
  // Only the kernels run on our threads; LibTorch has its own.
  parallel_for(static_cast<std::int64_t>(parts_.size()), [&](std::int64_t i) {
    Part& part = parts_[static_cast<std::size_t>(i)];
    if (plain(part.matrix)) sum_squares(part);
  });
  for (Part& part : parts_)
    if (!plain(part.matrix)) sum_squares(part);
  parallel_for(static_cast<std::int64_t>(scales_.size()), [&](std::int64_t i) { finish(static_cast<std::size_t>(i)); });
}

ModelTraces::Snapshot ModelTraces::snapshot() const {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> pieces;
  for (const Scale& scale : scales_) pieces.push_back(scale.form.value_in_double().flatten());
  for (const Part& part : parts_) pieces.push_back(squares_on_device(part));
  return {pieces.empty() ? torch::Tensor() : at::cat(pieces), {}};
}

void ModelTraces::add_after(Snapshot& to) const {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> pieces;
  for (const Scale& scale : scales_) pieces.push_back(scale.form.value_in_double().flatten());
  if (!pieces.empty()) to.after = at::cat(pieces);
}

void ModelTraces::load(const Snapshot& from) {
  std::vector<double> before, after;
  if (from.before.defined()) copy_to_doubles(from.before, before);
  if (from.after.defined()) copy_to_doubles(from.after, after);
  auto value = before.begin(), later = after.begin();
  for (Scale& scale : scales_) {
    scale.gamma.assign(value, value + scale.size);
    scale.before = scale.gamma;
    scale.after.assign(later, later + scale.size);
    value += scale.size;
    later += scale.size;
  }
  for (Part& part : parts_) {
    const std::int64_t count = part.by_column ? part.matrix.size(1) : part.end - part.begin;
    part.sums.assign(value, value + count);
    value += count;
  }
  for (std::size_t i = 0; i < scales_.size(); ++i) finish(i);
}

void ModelTraces::merge_into(ModelTraceRow& row) const {
  if (const auto it = scale_of_.find(row.name); it != scale_of_.end()) {
    const Scale& scale = scales_[it->second];
    row.gamma_quantiles = scale.quantiles;
    std::vector<double> after = scale.after;
    if (after.empty()) copy_to_doubles(scale.form.value_in_double(), after);
    add_step(scale.before, after, row);
    row.precond_min = scale.precond_min;
    row.precond_max = scale.precond_max;
    row.imbalance = scale.imbalance;
    row.w_gamma_ratio = scale.w_gamma_ratio;
    row.gamma_w_correlation = scale.gamma_w_correlation;
  } else if (before_norm_.contains(row.name) && row.param_norm > 0.0) {
    row.directional_lr = row.scheduled_lr / (row.method == "sgd" ? row.param_norm * row.param_norm : row.param_norm);
  }
}

}  // namespace scalevec::models
