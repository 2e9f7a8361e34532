#include "experiments/train/run_folder.hpp"

#include <algorithm>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"

namespace scalevec::experiments {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// The keys that a resume may have otherwise: they change neither a bit of the weights nor which batch a step sees.
bool is_free(const std::string& key) {
  return key == "name" || key == "data.dir" || key == "log.every" || key == "log.traces_every" ||
         key == "log.formats" || key.starts_with("checkpoint.");
}

// What the newest checkpoint that can be read was written with: null without one, and of one by a version that did not
// store it.
json config_of_newest_checkpoint(const fs::path& run) {
  const std::vector<fs::path> all = checkpoint_folders(run);
  for (auto it = all.rbegin(); it != all.rend(); ++it)
    if (const auto state = read_record_if_sound(*it / "state.json"); state && state->is_object())
      return state->value("config", json());
  return nullptr;
}

// As this version resolves it, so that keys which an older version did not know have their defaults.
json as_resolved_now(const json& stored) {
  try {
    return read_run_config(stored).resolved;
  } catch (const std::exception&) {
    return stored;
  }
}

std::vector<ChangedKey> refuse_other(const RunConfig& config, const json& stored, const std::string& holder) {
  std::vector<ChangedKey> found = changed_keys(as_resolved_now(stored), config.resolved), changed;
  // Other keys follow it where they are not given.
  std::stable_partition(found.begin(), found.end(), [](const ChangedKey& d) { return d.key == "steps"; });
  for (ChangedKey& d : found) {
    if (!is_free(d.key))
      throw UsageError(
          holder + " of another configuration; it differs at " + d.key + " (" + d.before.dump() + " there, " +
          d.now.dump() + " here); allowed: the same configuration, or another --out" +
          (d.key == "steps"
               ? ", in which \"model\": {\"from\": RUN, \"optimizer_state\": true, \"go_on\": true} trains on"
               : ""));
    changed.push_back(std::move(d));
  }
  return changed;
}

// What the lock, a comparison and a killed start leave before a run's config.json is written, or a launcher.
bool may_be_there_before(const fs::path& name) {
  for (const char* ours : {"lock", "config.json.tmp", "checkpoints", "cell.json", "config-in.json"})
    if (name == ours) return true;
  return is_side_file(name);
}

}  // namespace

std::vector<ChangedKey> claim_folder(const RunConfig& config, const fs::path& out, bool resume) {
  std::error_code ec;
  if (fs::exists(out, ec) && !fs::is_directory(out, ec)) throw UsageError(out.string() + ": is not a folder");
  const json checkpoint = config_of_newest_checkpoint(out);
  std::vector<ChangedKey> changed;
  if (!checkpoint.is_null()) changed = refuse_other(config, checkpoint, out.string() + ": holds a checkpoint");
  if (fs::exists(out / "config.json", ec)) {
    changed = refuse_other(config, read_json_file((out / "config.json").string()), out.string() + ": holds a run");
    if (!resume) throw UsageError(out.string() + ": holds a run already; allowed: --resume, or another --out");
    return changed;
  }
  if (resume && !checkpoint.is_null()) return changed;
  // Whose these are can't be told.
  for (const char* name : {"metrics.jsonl", "traces.jsonl", "summary.json", "policy.json"})
    if (fs::exists(out / name, ec))
      throw UsageError(out.string() + ": holds " + name +
                       " of a run whose config.json is missing; allowed: another --out");
  if (!checkpoint_folders(out).empty())
    throw UsageError(out.string() +
                     ": holds checkpoints that don't say of which configuration they are, and no config.json; allowed: "
                     "another --out");
  for (const auto& entry : fs::directory_iterator(out, ec))
    // Another process may have begun since: config.json is its first file.
    if (const fs::path name = entry.path().filename();
        !may_be_there_before(name) && !fs::exists(out / "config.json", ec))
      throw UsageError(out.string() + ": holds " + name.string() +
                       ", which is of no run; allowed: a new or empty folder, or the folder of a run for --resume");
  return {};
}

}  // namespace scalevec::experiments
