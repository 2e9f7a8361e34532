#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Which process updates which parameter.
namespace scalevec {

// What a parameter's update costs, as the time that memory takes for one byte: 28 bytes an element for the pass of an
// elementwise method (AdamW's reads and writes), and for a matrix method its products at kFlopsPerByte.
// `steps` are Muon's Newton-Schulz steps; each of the `row_blocks` is a matrix of its own.
inline constexpr double kFlopsPerByte = 4.0;  // 200 GFLOP/s against 50 GB/s, of the CPU in docs/performance.md
double update_cost(std::string_view method, const std::vector<std::int64_t>& shape, std::int64_t row_blocks,
                   std::int64_t steps);

// The owner of each item among `ranks` processes: the costliest first, each to the one with the least so far. Ties go
// to the lower rank and the earlier item, so that every process computes the same.
std::vector<int> partition_by_cost(const std::vector<double>& costs, int ranks);

}  // namespace scalevec
