#include "experiments/record/record_files.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <utility>

#include "experiments/errors.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/text.hpp"
#include "optim/config/checksum.hpp"
#include "optim/config/json_reader.hpp"

namespace scalevec::experiments {

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

std::optional<json> read_record(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return std::nullopt;
  try {
    return checked_record(read_whole(file), file);
  } catch (const DamagedFile& e) {
    throw RunError(e.what());
  }
}

std::optional<json> read_record_if_sound(const std::filesystem::path& file) {
  try {
    return read_record(file);
  } catch (const RunError&) {
    return std::nullopt;
  }
}

std::string log_seed(const std::filesystem::path& log) {
  const std::filesystem::path config = log.parent_path() / "config.json";
  std::error_code error;
  const std::string text = std::filesystem::exists(config, error) ? read_whole(config) : "";
  return checksum(log.filename().string() + "\n" + text);
}

LogLines read_log(const std::filesystem::path& file, std::string_view until) {
  LogLines log;
  std::ifstream in(file, std::ios::binary);
  if (!in) return log;
  std::string before = log_seed(file);
  bool chained = false;
  const auto fail = [&](const std::string& what) {
    throw RunError(file.string() + ": line " + std::to_string(log.lines.size() + 1) + " " + what);
  };
  for (std::string line; std::getline(in, line);) {
    const bool torn = in.eof();
    switch (check_chained_line(line, before)) {
      case ChecksumState::right:
        chained = true;
        break;
      case ChecksumState::wrong:
        if (torn) return log;
        if (!chained && log.lines.empty())
          fail("does not fit its checksum and config.json: one of the two was damaged, or is another run's");
        fail("does not fit its checksum: it, or lines before it, were damaged or are missing");
        break;
      case ChecksumState::absent:
        if (torn && (chained || !parse_json_if_sound(line).is_object())) return log;
        if (!parse_json_if_sound(line).is_object()) fail("is not JSON");
        if (chained) fail("has no checksum, and the lines before it have one: it was damaged");
        note_without_checksum(file);
    }
    log.lines.push_back(std::move(line));
    log.checksums.push_back(before);
    if (before == until) return log;
  }
  return log;
}

std::vector<json> read_json_lines(const std::filesystem::path& file) {
  std::vector<json> lines;
  for (const std::string& line : read_log(file).lines) {
    json value = parse_json_if_sound(line);
    if (!value.is_object())
      throw RunError(file.string() + ": line " + std::to_string(lines.size() + 1) + " is not JSON");
    value.erase("checksum");
    lines.push_back(std::move(value));
  }
  return lines;
}

namespace {

// What the newest sound checkpoint of a run says besides the step; null without one.
json progress_of_newest_checkpoint(const std::filesystem::path& run) {
  const std::vector<std::filesystem::path> all = checkpoint_folders(run);
  for (auto it = all.rbegin(); it != all.rend(); ++it)
    if (const auto state = read_record_if_sound(*it / "state.json"); state && state->is_object())
      return state->value("progress", json());
  return nullptr;
}

}  // namespace

std::string damage_of_run(const std::filesystem::path& run, const json& summary) {
  const std::string status = text_at(summary, "status");
  const bool finished = status == "done" || status == "diverged";
  const json said = finished ? summary : progress_of_newest_checkpoint(run);
  const std::string other = finished ? "summary.json" : "the newest checkpoint";
  const std::string or_other_run = ": one of the two was damaged, or is another run's";
  const json ends = said.is_object() ? said.value("logs", json::object()) : json::object();
  for (const char* name : {"metrics.jsonl", "traces.jsonl"}) {
    try {
      std::vector<std::string> checksums = read_log(run / name).checksums;
      checksums.insert(checksums.begin(), log_seed(run / name));
      const std::string end = text_at(ends, name);
      if (end.empty()) continue;
      if (finished && checksums.back() != end)
        return std::string(name) + ": does not end where summary.json says" + or_other_run;
      if (std::find(checksums.begin(), checksums.end(), end) == checksums.end())
        return std::string(name) + ": does not hold the lines that the newest checkpoint was written after" +
               or_other_run;
    } catch (const RunError& e) {
      return std::string(e.what()).substr((run / "").string().size());
    }
  }
  std::error_code error;
  const std::string policy = text_at(said, "policy");
  if (policy.empty()) return {};
  if (!std::filesystem::exists(run / "policy.json", error)) return "policy.json: is missing";
  if (checksum(read_whole(run / "policy.json")) != policy)
    return "policy.json: is not the one that " + other + " says" + or_other_run;
  return {};
}

void check_config_of_run(const std::filesystem::path& config, std::string_view data_hash) {
  const std::filesystem::path run = config.parent_path();
  if (config.filename() != "config.json" || !std::filesystem::exists(run / "metrics.jsonl")) return;
  const json summary = read_record(run / "summary.json").value_or(json::object());
  if (const std::string damage = damage_of_run(run, summary); !damage.empty()) throw RunError((run / damage).string());
  const std::string before = text_at(summary, "data_hash", text_at(progress_of_newest_checkpoint(run), "data_hash"));
  if (!before.empty() && before != data_hash)
    throw RunError(run.string() + ": the data is not what the run was trained on (SHA-256 " + before.substr(0, 12) +
                   "… there, " + std::string(data_hash.substr(0, 12)) + "… now); allowed: the same tokens");
}

bool is_side_file(const std::filesystem::path& name) {
  for (const char* end : {".log", ".txt", ".out", ".err"})
    if (name.extension() == end) return true;
  return name.string().starts_with(".");
}

namespace {

// The N of step-NNNNNNNN; none for a folder of another name.
std::optional<std::int64_t> step_of(const std::filesystem::path& checkpoint) {
  constexpr std::string_view kPrefix = "step-";
  const std::string name = checkpoint.filename().string();
  return name.starts_with(kPrefix) ? whole_number(std::string_view(name).substr(kPrefix.size())) : std::nullopt;
}

}  // namespace

std::vector<std::filesystem::path> checkpoint_folders(const std::filesystem::path& run) {
  std::map<std::int64_t, std::filesystem::path> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints", error))
    if (const auto step = step_of(entry.path())) found[*step] = entry.path();
  std::vector<std::filesystem::path> folders;
  for (const auto& [step, path] : found) folders.push_back(path);
  return folders;
}

json checkpoint_state(const std::filesystem::path& checkpoint) {
  const std::filesystem::path file = checkpoint / "state.json";
  auto state = read_record(file);
  if (!state) throw RunError(file.string() + ": is missing");
  if (!state->is_object()) throw RunError(file.string() + ": is no JSON object");
  if (const auto step = step_of(checkpoint); step && number_at(*state, "step") != static_cast<double>(*step))
    throw RunError(file.string() + ": is of another step than its folder's name says");
  return std::move(*state);
}

std::string checksum_in(const json& checkpoint_state, const std::string& name) {
  return text_at(checkpoint_state.value("files", json::object()), name);
}

double number_at(const json& object, std::string_view key) {
  const auto it = object.is_object() ? object.find(std::string(key)) : object.end();
  return it != object.end() && it->is_number() ? it->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

const json& array_at(const json& object, std::string_view key) {
  static const json none = json::array();
  const auto it = object.is_object() ? object.find(std::string(key)) : object.end();
  return it != object.end() && it->is_array() ? *it : none;
}

std::vector<double> numbers_at(const json& object, std::string_view key) {
  std::vector<double> out;
  for (const json& x : array_at(object, key))
    out.push_back(x.is_number() ? x.get<double>() : std::numeric_limits<double>::quiet_NaN());
  return out;
}

json finite_or_null(double x) { return std::isfinite(x) ? json(x) : json(); }

json losses_json(const std::vector<double>& losses) {
  json out = json::array();
  for (const double x : losses) out.push_back(std::isinf(x) ? json("diverged") : finite_or_null(x));
  return out;
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

}  // namespace scalevec::experiments
