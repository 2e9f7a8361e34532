#include "experiments/record/run_trace.hpp"

namespace scalevec::experiments {

std::vector<RunTraceRow> run_rows(const std::vector<TraceRow>& rows) {
  std::vector<RunTraceRow> out(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) static_cast<TraceRow&>(out[i]) = rows[i];
  return out;
}

const std::vector<RunTraceField>& run_trace_fields() {
  static const std::vector<RunTraceField> fields = [] {
    std::vector<RunTraceField> all;
    for (const TraceField& field : trace_fields()) all.push_back({field.name, field.member});
    all.insert(all.end(), {{"directional_lr", &RunTraceRow::directional_lr},
                           {"precond_min", &RunTraceRow::precond_min},
                           {"precond_max", &RunTraceRow::precond_max},
                           {"imbalance", &RunTraceRow::imbalance},
                           {"w_gamma_ratio", &RunTraceRow::w_gamma_ratio},
                           {"gamma_w_correlation", &RunTraceRow::gamma_w_correlation},
                           {"snr", &RunTraceRow::snr},
                           {"gamma_update_norm", &RunTraceRow::gamma_update_norm},
                           {"gamma_update_along", &RunTraceRow::gamma_update_along},
                           {"predicted_rotation", &RunTraceRow::predicted_rotation},
                           {"predicted_norm", &RunTraceRow::predicted_norm},
                           {"max_logit", &RunTraceRow::max_logit}});
    return all;
  }();
  return fields;
}

}  // namespace scalevec::experiments
