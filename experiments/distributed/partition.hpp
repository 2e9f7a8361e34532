#pragma once

#include <cstdint>
#include <vector>

// Which process updates which parameter.
namespace scalevec::experiments {

// The cost of a parameter's update, in units of the time that memory needs for one byte: 28 bytes per element for the
// pass of an elementwise method (the reads and writes of AdamW), and the products that a matrix method takes beside it
// (Method::flops()), at kFlopsPerByte.
inline constexpr double kFlopsPerByte = 4.0;  // 200 GFLOP/s over 50 GB/s, for the CPU of docs/performance.md
double update_cost(const std::vector<std::int64_t>& shape, double flops);

// The owner of each item among `ranks` processes. Items are assigned in order of falling cost, each to the process with
// the least cost so far. Of equal processes the lower rank is taken, of equal items the earlier one, so that every
// process computes the same result.
std::vector<int> partition_by_cost(const std::vector<double>& costs, int ranks);

}  // namespace scalevec::experiments
