#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace scalevec {

// Defaults that decide what a run is validated on; docs/configuration.md.
inline constexpr std::int64_t kDefaultBatchSize = 16;
inline constexpr std::int64_t kDefaultSequenceLength = 128;
inline constexpr std::int64_t kDefaultValidationSequences = 128;

// What a run's validation loss is a mean over. Losses are comparable only where this is the same.
struct ValidationWindows {
  nlohmann::json data;         // the configuration's "data"
  std::int64_t sequences = 0;  // at most; a split may hold fewer
  std::int64_t length = 0;     // tokens of each

  bool operator==(const ValidationWindows&) const = default;
  std::string words() const;  // "128 sequences of 128 tokens"
};

// Of a run's configuration as it is written, unchecked: a key of another type counts as left out. Sequences 0: a toy,
// which has none.
ValidationWindows validation_windows(const nlohmann::json& config);

}  // namespace scalevec
