#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

// Overrides of a configuration by dotted key path: "optimizer.rules.1.weight_decay", where a number indexes an array.
namespace scalevec {

// Sets the value at `path`. Missing objects on the way are made; an object is merged into an object that stands there,
// anything else replaces what stands there. `what` leads the message of the ConfigError that a path through a number,
// a string or past an array's end throws.
void set_at(nlohmann::json& config, std::string_view path, const nlohmann::json& value, std::string_view what);

// The value at `path`, or null if there is none.
const nlohmann::json* find_at(const nlohmann::json& config, std::string_view path);

// Applies "key.path=value"; the value is JSON where it parses as JSON and else a string.
void apply_set(nlohmann::json& config, std::string_view assignment);

}  // namespace scalevec
