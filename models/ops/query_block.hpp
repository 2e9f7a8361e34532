#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>

namespace scalevec::models::ops {

// Queries begin + [0, size) of causal attention, and the positions from + [0, columns) that any of them attends to.
// Where the scores of all pairs would be too many, attention goes over such blocks.
struct QueryBlock {
  static constexpr std::int64_t kQueries = 256;  // at once

  std::int64_t begin, size, from, columns;
  torch::Tensor hidden;  // [size, columns] bool: positions that a query does not attend to

  // From query `first` at most `most` of `length`; `window` as in attention(). On the device of `like`.
  QueryBlock(std::int64_t first, std::int64_t length, std::int64_t window, const torch::TensorOptions& like,
             std::int64_t most = kQueries)
      : begin(first),
        size(std::min(most, length - first)),
        from(window > 0 ? std::max<std::int64_t>(0, first - window + 1) : 0),
        columns(first + size - from) {
    const auto integers = like.dtype(torch::kInt64).requires_grad(false);
    const torch::Tensor row = torch::arange(begin, begin + size, integers).unsqueeze(1),
                        column = torch::arange(from, from + columns, integers);
    hidden = column > row;
    if (window > 0) hidden = hidden.logical_or(column <= row - window);
  }
};

}  // namespace scalevec::models::ops
