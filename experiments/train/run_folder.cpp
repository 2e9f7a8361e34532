#include "scalevec/experiments/train/run_folder.hpp"

#include <algorithm>

#include "scalevec/experiments/compare/record_files.hpp"
#include "scalevec/experiments/data/file_io.hpp"
#include "scalevec/experiments/errors.hpp"

namespace scalevec {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// The first key path where two configurations differ, empty if none.
std::string difference(const json& a, const json& b, const std::string& path = "") {
  if (a == b) return {};
  if (!a.is_object() || !b.is_object()) return path + " (" + a.dump() + " there, " + b.dump() + " here)";
  for (const auto& [key, value] : a.items()) {
    const std::string at = path.empty() ? key : path + "." + key;
    const std::string found = difference(value, b.contains(key) ? b[key] : json(), at);
    if (!found.empty()) return found;
  }
  for (const auto& [key, value] : b.items())
    if (!a.contains(key)) return (path.empty() ? key : path + "." + key) + " (only here)";
  return {};
}

// What the newest checkpoint was written with: null without a checkpoint, and of one by a version that did not store
// it.
json config_of_newest_checkpoint(const fs::path& run) {
  const std::vector<fs::path> all = whole_checkpoints(run);
  if (all.empty()) return nullptr;
  const json state = read_json_if_whole(all.back() / "state.json").value_or(json());
  return state.is_object() && state.contains("config") ? state["config"] : json();
}

// As this version resolves it, so that keys which an older version did not know have their defaults.
json as_resolved_now(const json& stored) {
  try {
    return json::parse(read_run_config(stored).resolved.dump());
  } catch (const std::exception&) {
    return stored;
  }
}

void refuse_other(const RunConfig& config, const json& stored, const std::string& holder) {
  const std::string where = difference(as_resolved_now(stored), json::parse(config.resolved.dump()));
  if (!where.empty())
    throw UsageError(holder + " of another configuration; it differs at " + where +
                     "; allowed: the same configuration, or another --out");
}

}  // namespace

std::vector<fs::path> whole_checkpoints(const fs::path& run) {
  std::vector<fs::path> found;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", ec))
    if (entry.path().filename().string().starts_with(kCheckpointPrefix)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

void claim_folder(const RunConfig& config, const fs::path& out, bool resume) {
  std::error_code ec;
  if (fs::exists(out, ec) && !fs::is_directory(out, ec)) throw UsageError(out.string() + ": is not a folder");
  const json checkpoint = config_of_newest_checkpoint(out);
  if (!checkpoint.is_null()) refuse_other(config, checkpoint, out.string() + ": holds a checkpoint");
  if (fs::exists(out / "config.json", ec)) {
    refuse_other(config, read_json_file((out / "config.json").string()), out.string() + ": holds a run");
    if (!resume) throw UsageError(out.string() + ": holds a run already; allowed: --resume, or another --out");
    return;
  }
  if (resume && !checkpoint.is_null()) return;
  // Whose these are can't be told.
  for (const char* name : {"metrics.jsonl", "traces.jsonl", "summary.json", "policy.json"})
    if (fs::exists(out / name, ec))
      throw UsageError(out.string() + ": holds " + name +
                       " of a run whose config.json is missing; allowed: another --out");
  if (!whole_checkpoints(out).empty())
    throw UsageError(out.string() +
                     ": holds checkpoints that don't say of which configuration they are, and no config.json; allowed: "
                     "another --out");
}

}  // namespace scalevec
