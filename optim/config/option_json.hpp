#pragma once

#include <nlohmann/json.hpp>

#include "optim/config/json_reader.hpp"
#include "optim/core/option.hpp"

// Options read from JSON and written to it. Not installed.
namespace scalevec {

// Reads the keys of `options` that are given; an absent one keeps its value unless it is required. Does not call
// in.finish(), since the caller may read other keys of the same object. Throws ConfigError.
void read_options(JsonReader& in, const Options& options);

// Writes every option that is `written` to the object `out`.
void write_options(nlohmann::json& out, const Options& options);

// The same as an object of its own.
nlohmann::json json_of_options(const Options& options);

// The rows of a printed table: [{"key", "default", "allowed", "meaning"}, …]. Values are those that are stored now.
nlohmann::json option_rows(const Options& options);

}  // namespace scalevec
