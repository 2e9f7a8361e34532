#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace scalevec::experiments {

// Defaults of the keys that determine the validation data of a run (docs/configuration.md).
inline constexpr std::int64_t kDefaultBatchSize = 16;
inline constexpr std::int64_t kDefaultSequenceLength = 128;
inline constexpr std::int64_t kDefaultValidationSequences = 128;

// The data over which the validation loss of a run is the mean. Losses are comparable only if it is the same.
struct ValidationWindows {
  nlohmann::json data;         // the configuration's "data"
  std::int64_t sequences = 0;  // at most; the data may have fewer
  std::int64_t length = 0;     // tokens of each

  bool operator==(const ValidationWindows&) const = default;
  std::string words() const;  // "128 sequences of 128 tokens"
};

// The validation windows of a run's configuration, which need not have been checked: a key of a wrong type counts as
// left out. For a toy, which has none, `sequences` is 0.
ValidationWindows validation_windows(const nlohmann::json& config);

}  // namespace scalevec::experiments
