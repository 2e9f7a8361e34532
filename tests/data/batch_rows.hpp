#pragma once

#include <cstdint>
#include <vector>

#include "experiments/data/batch_source.hpp"

namespace scalevec::test {

using namespace scalevec::experiments;

using Ids = std::vector<std::int64_t>;

// Rows first … first + count of a step's batch, [count, seq_len + 1], flat.
inline Ids train_rows(const BatchSource& source, std::int64_t step, std::int64_t batch, std::int64_t first,
                      std::int64_t count, std::int64_t seq_len) {
  Ids ids(count * (seq_len + 1), -1);
  source.train_batch(step, batch, first, count, seq_len, ids.data());
  return ids;
}

}  // namespace scalevec::test
