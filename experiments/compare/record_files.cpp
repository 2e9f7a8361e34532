#include "scalevec/experiments/compare/record_files.hpp"

#include <fstream>
#include <limits>
#include <sstream>

#include "scalevec/experiments/errors.hpp"
#include "scalevec/optim/config/json_reader.hpp"

namespace scalevec {

using nlohmann::json;

std::string read_whole(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  if (!in) throw RunError(file.string() + ": cannot be read");
  return text.str();
}

std::optional<json> read_json_if_whole(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  json value = parse_json_if_sound(text.str());
  if (value.is_discarded()) return std::nullopt;
  return value;
}

std::vector<json> read_json_lines(const std::filesystem::path& file) {
  std::vector<json> lines;
  std::ifstream in(file, std::ios::binary);
  size_t number = 0, bad = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (bad) throw RunError(file.string() + ": line " + std::to_string(bad) + " is not JSON");
    json value = parse_json_if_sound(line);
    if (!value.is_object())
      bad = number;
    else
      lines.push_back(std::move(value));
  }
  return lines;
}

std::string damage_of_lines(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  size_t number = 0, bad = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (bad) return file.filename().string() + ": line " + std::to_string(bad) + " is not JSON";
    if (line.empty() || line.front() != '{' || !json::accept(line)) bad = number;
  }
  return {};
}

void check_output_file(const std::filesystem::path& file, std::string_view option) {
  const auto refuse = [&](const std::string& why) {
    throw UsageError(std::string(option) + ": " + file.string() + " " + why);
  };
  static constexpr std::string_view kRecords[] = {
      "cell.json",     "compare.json", "config.json",  "config-in.json", "data.json",    "lock",        "log.txt",
      "metrics.jsonl", "policy.json",  "profile.json", "state.json",     "summary.json", "traces.jsonl"};
  const std::string name = file.filename().string();
  if (name.empty()) refuse("names no file");
  for (const std::string_view record : kRecords)
    if (name == record) refuse("has the name of a file that runs and comparisons leave; allowed: another name");
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) refuse("is a folder; allowed: a file");
}

double number_at(const json& object, std::string_view key) {
  const auto it = object.is_object() ? object.find(std::string(key)) : object.end();
  return it != object.end() && it->is_number() ? it->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

std::string text_at(const json& object, std::string_view key, std::string fallback) {
  const auto it = object.is_object() ? object.find(std::string(key)) : object.end();
  return it != object.end() && it->is_string() ? it->get<std::string>() : fallback;
}

std::string last_line(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string last;
  for (std::string line; std::getline(in, line);) {
    const size_t redrawn = line.find_last_of('\r', line.empty() ? 0 : line.size() - 2);
    if (redrawn != std::string::npos && redrawn + 1 < line.size()) line = line.substr(redrawn + 1);
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  }
  return last;
}

}  // namespace scalevec
