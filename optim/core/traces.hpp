#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Traces: docs/traces.md defines them. Most are formulas of sums taken inside the optimizer's step. Here p is the
// stored parameter before the step, g its gradient before clipping, Δ the stored new value minus the old.
namespace scalevec {

struct StepSums {
  double grad_sq = 0.0;       // Σ g²
  double param_sq = 0.0;      // Σ p²
  double update_sq = 0.0;     // Σ Δ²
  double param_update = 0.0;  // Σ p·Δ
  double grad_update = 0.0;   // Σ g·Δ
  double inv_denom = 0.0;     // Σ 1/(√v̂ + ε) for Adam-type methods, else 0
  std::int64_t count = 0;     // elements
  double rounding_sq = 0.0;   // Σ of the variance of the stored new value's rounding in its type, ε²p²/12
  double stalled = 0.0;       // elements of 16 bits that are as they were although their update is not zero
  double stalled_of = 0.0;    // elements of 16 bits

  StepSums& operator+=(const StepSums& other);
};

// Of a type whose numbers near 1 lie `spacing` apart (2⁻²³ for float32), from the parameter's Σp².
inline double rounding_sq(double spacing, double param_sq) { return spacing * spacing * param_sq / 12.0; }

inline constexpr double kNoTrace = std::numeric_limits<double>::quiet_NaN();

// One parameter's or one group's traces at a step, of the optimizer. A trace that is not defined for it is NaN.
struct TraceRow {
  std::string name;
  std::string group;                     // see trace_group()
  std::string method;                    // "adamw", …; "mixed" for a group that several methods train
  std::int64_t count = 0;                // elements
  double scheduled_lr = kNoTrace;        // η_t with its multiplier; for a group the mean over elements
  double grad_norm = kNoTrace;           // ‖g‖
  double param_norm = kNoTrace;          // ‖p‖
  double update_norm = kNoTrace;         // ‖Δ‖
  double update_ratio = kNoTrace;        // ‖Δ‖/‖p‖
  double effective_lr = kNoTrace;        // ‖Δ‖/‖g‖
  double adaptive_lr = kNoTrace;         // mean η/(√v̂ + ε), Adam-type methods
  double rotation = kNoTrace;            // angle between p and p + Δ, radians; NaN below its noise floor
  double predicted_decrease = kNoTrace;  // −g·Δ, loss decrease to first order
  double stalled = kNoTrace;             // share of elements of 16 bits that did not move
};

// What one parameter contributes to traces.
struct TraceInput {
  std::string_view name;
  std::string_view group;
  std::string_view method;
  double lr = 0.0;
  bool adaptive = false;  // sums.inv_denom is filled
  StepSums sums;
};

// The traces that are formulas of the sums. A ratio with denominator 0 is NaN.
TraceRow trace_row(const TraceInput& input);
// The same into a row in two parts, of which the second allocates nothing.
void name_trace_row(const TraceInput& input, TraceRow& row);
void fill_trace_row(const TraceInput& input, TraceRow& row);

// One row per group, in order of first appearance, from the members' summed sums: a group's norm is the norm of the
// concatenated tensors and its rotation the angle of that one vector.
std::vector<TraceRow> trace_rows_by_group(std::span<const TraceInput> inputs);

// The same in two parts, for a step that must not fail once it is made: prepare() allocates, fill() does not.
class GroupTraces {
 public:
  void prepare(std::span<const TraceInput> inputs);
  void fill(std::span<const TraceInput> inputs);  // those of prepare() with their sums

  std::vector<TraceRow> rows;

 private:
  struct Totals {
    StepSums sums;
    double lr = 0.0;
    double adaptive = 0.0;
    std::int64_t adaptive_count = 0;
  };
  std::vector<std::size_t> row_of_;  // of each input
  std::vector<Totals> totals_;       // of each row
};

// Linear-interpolation quantiles (NumPy's default) of `values`, which is sorted in place; NaN if it is empty.
std::vector<double> quantiles(std::vector<double>& values, std::span<const double> at);

// Name and member of every scalar trace, in output order.
struct TraceField {
  const char* name;
  double TraceRow::*member;
};
std::span<const TraceField> trace_fields();

}  // namespace scalevec
