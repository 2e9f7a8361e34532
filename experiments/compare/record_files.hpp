#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Reading run folders leniently.
namespace scalevec {

std::string read_whole(const std::filesystem::path& file);  // throws RunError

// Empty if the file is missing or is not whole JSON: a run that was killed may have left neither.
std::optional<nlohmann::json> read_json_if_whole(const std::filesystem::path& file);

// The lines of a JSONL file; a missing file reads as none and a torn last line is left out. Throws RunError for a line
// before the last that is not JSON.
std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& file);

// What read_json_lines() would throw for the file, as "NAME: line N is not JSON"; empty if it would not.
std::string damage_of_lines(const std::filesystem::path& file);

// Refuses, by UsageError led by `option`, to write a result over a folder or over a file that this program reads:
// compare.json, config.json, metrics.jsonl and their like, in any folder.
void check_output_file(const std::filesystem::path& file, std::string_view option);

// NaN if `object` has no number under `key`.
double number_at(const nlohmann::json& object, std::string_view key);

// The string under `key`, or `fallback`.
std::string text_at(const nlohmann::json& object, std::string_view key, std::string fallback = "");

// The last line that is not blank, or empty.
std::string last_line(const std::filesystem::path& file);

}  // namespace scalevec
