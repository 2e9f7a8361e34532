#include "experiments/data/validation_windows.hpp"

#include <limits>

namespace scalevec::experiments {
namespace {

using nlohmann::json;

const json& member(const json& object, const char* key) {
  static const json none;
  const auto it = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && it != object.end() ? *it : none;
}

std::int64_t integer_or(const json& object, const char* key, std::int64_t fallback) {
  const json& value = member(object, key);
  return value.is_number_integer() ? value.get<std::int64_t>() : fallback;
}

}  // namespace

std::string ValidationWindows::words() const {
  return std::to_string(sequences) + " sequences of " + std::to_string(length) + " tokens";
}

ValidationWindows validation_windows(const json& config) {
  const json& type = member(member(config, "model"), "type");
  if (type.is_string() && type != "decoder") return {};
  const json& validation = member(config, "validation");
  ValidationWindows out;
  out.data = member(config, "data");
  out.length = integer_or(validation, "sequence_length", integer_or(config, "sequence_length", kDefaultSequenceLength));
  out.sequences = integer_or(validation, "sequences", 0);
  if (out.sequences == 0) {
    const std::int64_t batches = integer_or(validation, "batches", 0);
    const std::int64_t batch_size = integer_or(config, "batch_size", kDefaultBatchSize);
    // Not yet checked here: what overflows is refused where the run's configuration is read.
    if (batches <= 0)
      out.sequences = kDefaultValidationSequences;
    else if (__builtin_mul_overflow(batches, batch_size, &out.sequences))
      out.sequences = std::numeric_limits<std::int64_t>::max();
  }
  return out;
}

}  // namespace scalevec::experiments
