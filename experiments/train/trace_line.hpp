#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/record/run_trace.hpp"

namespace scalevec::experiments {

// A traced step as a line of traces.jsonl, without its line break: {"step", "params": […], "groups": […]}. Each row has
// name, group, method, count, each trace that is not NaN, and the quantiles of γ. An infinite number is null. The text
// is written directly, because building JSON objects took as long as all other traces of the step together.
std::string trace_line(std::int64_t step, const std::vector<RunTraceRow>& params,
                       const std::vector<RunTraceRow>& groups);

}  // namespace scalevec::experiments
