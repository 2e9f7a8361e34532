#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

// Changes of a configuration by a path of keys joined by dots: "optimizer.rules.1.weight_decay". A number is an index
// into an array. A key that contains a dot is quoted: scales.placements."attn.v".
namespace scalevec::experiments {

// Sets the value at `path` and creates missing objects on the way. An object is merged into an object that is there
// (JSON Merge Patch, RFC 7386); with a colon after the path ("data:") it replaces that object. Null removes what is
// there, also inside a merged object. Any other value replaces what is there. Throws ConfigError, whose message begins
// with `what`, for a path through a number or a string, or past the end of an array.
void set_at(nlohmann::json& config, std::string_view path, const nlohmann::json& value, std::string_view what);

// The value at `path`, or a null pointer if there is none.
const nlohmann::json* find_at(const nlohmann::json& config, std::string_view path);

// Applies "key.path=value". The value is read as JSON, or as a string if it is not JSON. Throws ConfigError.
void apply_set(nlohmann::json& config, std::string_view assignment);

// A key in which two objects differ, by its path ("log.every"); null where one has none.
struct ChangedKey {
  std::string key;
  nlohmann::json before, now;
};
std::vector<ChangedKey> changed_keys(const nlohmann::json& before, const nlohmann::json& now);

}  // namespace scalevec::experiments
