#include "optim/core/traces.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace scalevec {
namespace {

double ratio(double a, double b) { return b > 0.0 ? a / b : kNoTrace; }

// atan2 of |p × (p+Δ)| and p·(p+Δ): accurate at small angles, where acos of a cosine is not. |p × Δ|² cancels where the
// step is nearly radial: what is left is known to some units of the sums' last places, of 2⁻⁵² each. An angle below
// that, or below what rounding the new value to the parameter's type turns it by, is no trace of the step.
double angle(const StepSums& s) {
  if (!(s.param_sq > 0.0)) return kNoTrace;
  const double along = s.param_sq + s.param_update;
  if (s.count == 1) return along > 0.0 ? 0.0 : along < 0.0 ? std::numbers::pi : kNoTrace;
  if (s.update_sq == 0.0) return 0.0;
  // ‖p + Δ‖² is as good as 0: the new value has no direction.
  constexpr double kUnits = 64.0 * std::numeric_limits<double>::epsilon();
  if (s.param_sq + 2.0 * s.param_update + s.update_sq <= kUnits * s.param_sq) return kNoTrace;
  const double product = s.param_sq * s.update_sq;
  const double cross_sq = product - s.param_update * s.param_update;
  if (cross_sq <= kUnits * product) return kNoTrace;
  const double rotation = std::atan2(std::sqrt(cross_sq), along);
  return rotation * rotation * s.param_sq <= s.rounding_sq ? kNoTrace : rotation;
}

void fill_sums(TraceRow& row, const StepSums& s) {
  row.count = s.count;
  row.grad_norm = std::sqrt(s.grad_sq);
  row.param_norm = std::sqrt(s.param_sq);
  row.update_norm = std::sqrt(s.update_sq);
  row.update_ratio = ratio(row.update_norm, row.param_norm);
  row.effective_lr = ratio(row.update_norm, row.grad_norm);
  row.rotation = angle(s);
  row.predicted_decrease = -s.grad_update;
  row.stalled = ratio(s.stalled, s.stalled_of);
}

}  // namespace

StepSums& StepSums::operator+=(const StepSums& other) {
  grad_sq += other.grad_sq;
  param_sq += other.param_sq;
  update_sq += other.update_sq;
  param_update += other.param_update;
  grad_update += other.grad_update;
  inv_denom += other.inv_denom;
  count += other.count;
  rounding_sq += other.rounding_sq;
  stalled += other.stalled;
  stalled_of += other.stalled_of;
  return *this;
}

void name_trace_row(const TraceInput& input, TraceRow& row) {
  row.name = input.name;
  row.group = input.group;
  row.method = input.method;
}

void fill_trace_row(const TraceInput& input, TraceRow& row) {
  row.scheduled_lr = input.lr;
  fill_sums(row, input.sums);
  row.adaptive_lr = input.adaptive && input.sums.count > 0
                        ? input.lr * input.sums.inv_denom / static_cast<double>(input.sums.count)
                        : kNoTrace;
}

TraceRow trace_row(const TraceInput& input) {
  TraceRow row;
  name_trace_row(input, row);
  fill_trace_row(input, row);
  return row;
}

void GroupTraces::prepare(std::span<const TraceInput> inputs) {
  rows.clear();
  row_of_.clear();
  for (const TraceInput& in : inputs) {
    auto row = std::find_if(rows.begin(), rows.end(), [&](const TraceRow& r) { return r.name == in.group; });
    if (row == rows.end()) {
      row = rows.insert(rows.end(), TraceRow{});
      row->name = in.group;
      row->group = in.group;
      row->method = in.method;
    }
    if (row->method != in.method) row->method = "mixed";
    row_of_.push_back(static_cast<std::size_t>(row - rows.begin()));
  }
  totals_.resize(rows.size());
}

void GroupTraces::fill(std::span<const TraceInput> inputs) {
  std::fill(totals_.begin(), totals_.end(), Totals{});
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const TraceInput& in = inputs[i];
    Totals& total = totals_[row_of_[i]];
    total.sums += in.sums;
    total.lr += in.lr * static_cast<double>(in.sums.count);
    if (in.adaptive) {
      total.adaptive += in.lr * in.sums.inv_denom;
      total.adaptive_count += in.sums.count;
    }
  }
  for (std::size_t g = 0; g < rows.size(); ++g) {
    const Totals& total = totals_[g];
    fill_sums(rows[g], total.sums);
    if (total.sums.count > 0) rows[g].scheduled_lr = total.lr / static_cast<double>(total.sums.count);
    if (total.adaptive_count > 0) rows[g].adaptive_lr = total.adaptive / static_cast<double>(total.adaptive_count);
  }
}

std::vector<TraceRow> trace_rows_by_group(std::span<const TraceInput> inputs) {
  GroupTraces groups;
  groups.prepare(inputs);
  groups.fill(inputs);
  return std::move(groups.rows);
}

std::vector<double> quantiles(std::vector<double>& values, std::span<const double> at) {
  std::vector<double> out(at.size(), kNoTrace);
  if (values.empty()) return out;
  std::sort(values.begin(), values.end());
  for (size_t i = 0; i < at.size(); ++i) {
    const double position = at[i] * static_cast<double>(values.size() - 1);
    const auto low = static_cast<size_t>(position);
    const size_t high = std::min(low + 1, values.size() - 1);
    out[i] = values[low] + (position - static_cast<double>(low)) * (values[high] - values[low]);
  }
  return out;
}

std::span<const TraceField> trace_fields() {
  static constexpr TraceField fields[] = {{"scheduled_lr", &TraceRow::scheduled_lr},
                                          {"grad_norm", &TraceRow::grad_norm},
                                          {"param_norm", &TraceRow::param_norm},
                                          {"update_norm", &TraceRow::update_norm},
                                          {"update_ratio", &TraceRow::update_ratio},
                                          {"effective_lr", &TraceRow::effective_lr},
                                          {"adaptive_lr", &TraceRow::adaptive_lr},
                                          {"rotation", &TraceRow::rotation},
                                          {"predicted_decrease", &TraceRow::predicted_decrease},
                                          {"stalled", &TraceRow::stalled}};
  return fields;
}

}  // namespace scalevec
