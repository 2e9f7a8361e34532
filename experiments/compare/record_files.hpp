#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Reading the folders of runs that may be incomplete.
namespace scalevec {

// The content of a file. Throws RunError.
std::string read_whole(const std::filesystem::path& file);

// The JSON of a file. Empty if the file is missing or is not complete JSON, as a killed run may leave it.
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

// The last line of a file that is not blank; empty if there is none.
std::string last_line(const std::filesystem::path& file);

}  // namespace scalevec
