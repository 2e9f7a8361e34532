#pragma once

#include <vector>

#include "models/trace_row.hpp"

namespace scalevec::experiments {

// All traces of a parameter or a group in a run (docs/traces.md); NaN where one is not defined.
struct RunTraceRow : models::ModelTraceRow {
  double snr = kNoTrace;                 // |mean|/std of an element of g over the steps since the last trace
  double predicted_rotation = kNoTrace;  // what rotation and param_norm would be by T11 and T12, from the run's
  double predicted_norm = kNoTrace;      // schedule, decay and initial norm alone
  double max_logit = kNoTrace;           // largest attention logit of the batch; maps to queries under qk_clip
};

// The rows of an optimizer, with the other traces not defined.
std::vector<RunTraceRow> run_rows(const std::vector<TraceRow>& rows);

// Name and member of every scalar trace, in the order of the records.
struct RunTraceField {
  const char* name;
  double RunTraceRow::*member;
};
const std::vector<RunTraceField>& run_trace_fields();

}  // namespace scalevec::experiments
