#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

// Overrides of a configuration by dotted key path: "optimizer.rules.1.weight_decay", where a number indexes an array. A
// key that holds a dot is quoted: scales.placements."attn.v".
namespace scalevec {

// Sets the value at `path`; missing objects on the way are made. An object is merged into an object that stands there
// (JSON Merge Patch, RFC 7386); with a colon after the path ("data:") it replaces it. Null removes what stands there,
// also inside a merged object. Anything else replaces. `what` leads the message of the ConfigError that a path through
// a number, a string or past an array's end throws.
void set_at(nlohmann::json& config, std::string_view path, const nlohmann::json& value, std::string_view what);

// The value at `path`, or null if there is none.
const nlohmann::json* find_at(const nlohmann::json& config, std::string_view path);

// Applies "key.path=value"; the value is JSON where it parses as JSON and else a string.
void apply_set(nlohmann::json& config, std::string_view assignment);

}  // namespace scalevec
