#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "optim/core/host_device.hpp"
#include "optim/kernels/element_types.hpp"
#include "optim/kernels/elementwise.hpp"

// How the CUDA step divides tensors among blocks and threads, and in which order it adds. Everything here runs on the
// host too. One block takes one unit: kernels::kChunk consecutive elements of one tensor, or its rest. A tensor may
// have several equal parts with sums of their own, at whose ends units end too.
namespace scalevec::cuda {

using kernels::Bf16;
using kernels::F16;
using kernels::load;
using kernels::store;

inline constexpr int kThreads = 256;  // per block
inline constexpr int kLanes = 4;      // elements a thread has in flight
inline constexpr std::int64_t kPass = std::int64_t{kThreads} * kLanes;

struct Range {
  std::int64_t begin, end;
};

SCALEVEC_HD constexpr std::int64_t units_of(std::int64_t size, std::int64_t parts = 1) {
  return parts * ((size / parts + kernels::kChunk - 1) / kernels::kChunk);
}

// Number of the first unit of every tensor, then the number of units in all: sizes.size() + 1 entries. `parts` of each,
// or none for one.
inline std::vector<std::int64_t> first_units(std::span<const std::int64_t> sizes,
                                             std::span<const std::int64_t> parts = {}) {
  std::vector<std::int64_t> first{0};
  for (std::size_t t = 0; t < sizes.size(); ++t)
    first.push_back(first.back() + units_of(sizes[t], parts.empty() ? 1 : parts[t]));
  return first;
}

// The tensor that `unit` belongs to: the last one that starts at or before it, so that empty tensors own none.
SCALEVEC_HD constexpr std::int64_t tensor_of_unit(const std::int64_t* first, std::int64_t tensors, std::int64_t unit) {
  std::int64_t low = 0, high = tensors;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    if (first[middle] <= unit)
      low = middle;
    else
      high = middle;
  }
  return low;
}

// Elements of the tensor's unit number `index`.
SCALEVEC_HD constexpr Range unit_range(std::int64_t index, std::int64_t size, std::int64_t parts = 1) {
  const std::int64_t length = size / parts, of_part = units_of(size, parts) / parts, part = index / of_part;
  const std::int64_t begin = part * length + index % of_part * kernels::kChunk, end = (part + 1) * length;
  return {begin, end - begin < kernels::kChunk ? end : begin + kernels::kChunk};
}

SCALEVEC_HD constexpr std::int64_t passes_of(Range range) { return (range.end - range.begin + kPass - 1) / kPass; }

// The element a thread takes; neighbours take neighbours. At or beyond range.end there is none.
SCALEVEC_HD constexpr std::int64_t element(Range range, std::int64_t pass, int lane, int thread) {
  return range.begin + pass * kPass + std::int64_t{lane} * kThreads + thread;
}

// A block adds its threads' values by halving: for width = kThreads/2, …, 2, 1 every thread does this, then all wait.
SCALEVEC_HD constexpr void add_half(double* row, int thread, int width) {
  if (thread < width) row[thread] += row[thread + width];
}

// A sum of non-negative numbers that does not depend on their order: each becomes an integer multiple of 2^-shift, and
// integers add exactly. With max < 2^e and n numbers, shift = 62 − ⌈log₂(n + 1)⌉ − e cannot overflow and is off by at
// most n²·2^-62 of the maximum.
SCALEVEC_HD int sum_shift(double max, std::int64_t n) {
  int exponent = 0;
  std::frexp(max, &exponent);
  int bits = 0;
  while ((std::int64_t{1} << bits) <= n) ++bits;
  return 62 - bits - exponent;
}
SCALEVEC_HD std::int64_t to_integer(double x, int shift) { return std::llrint(std::ldexp(x, shift)); }
SCALEVEC_HD double from_integer(std::int64_t sum, int shift) { return std::ldexp(static_cast<double>(sum), -shift); }

}  // namespace scalevec::cuda
