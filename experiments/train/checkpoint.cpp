#include "scalevec/experiments/train/checkpoint.hpp"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "scalevec/experiments/data/file_io.hpp"
#include "scalevec/experiments/errors.hpp"

namespace scalevec {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "step-";

std::string folder_name(std::int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "%s%08lld", kPrefix, static_cast<long long>(step));
  return text;
}

// Oldest first.
std::vector<fs::path> whole_checkpoints(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!fs::is_directory(folder)) return found;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().starts_with(kPrefix)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

void write_checkpoint(const fs::path& run, const Session& session, const NamedTensors& optimizer_state,
                      const nlohmann::json& progress, std::int64_t keep) {
  const fs::path folder = run / "checkpoints";
  const fs::path final_place = folder / folder_name(session.steps_done());
  const fs::path beside = folder / (".writing-" + folder_name(session.steps_done()));
  try {
    fs::create_directories(folder);
    if (!fs::exists(final_place)) {
      fs::remove_all(beside);
      fs::create_directory(beside);
      write_safetensors(beside / "weights.safetensors", session.weights());
      write_safetensors(beside / "optimizer.safetensors", optimizer_state);
      write_file(beside / "state.json",
                 nlohmann::json{{"format", 1}, {"step", session.steps_done()}, {"progress", progress}}.dump(1) + "\n");
      sync_folder(beside);
      fs::rename(beside, final_place);
      sync_folder(folder);
    }
    std::vector<fs::path> all = whole_checkpoints(folder);
    while (static_cast<std::int64_t>(all.size()) > keep) {
      // Renamed first, so that a kill in the middle leaves no half checkpoint under a whole one's name.
      const fs::path doomed = folder / (".removing-" + all.front().filename().string());
      fs::rename(all.front(), doomed);
      fs::remove_all(doomed);
      all.erase(all.begin());
    }
  } catch (const std::exception& e) {
    std::error_code ignored;
    fs::remove_all(beside, ignored);  // on a full disk the next attempt needs its room
    throw RunError(std::string("the checkpoint cannot be written: ") + e.what());
  }
}

nlohmann::json restore_latest(const fs::path& run, Session& session) {
  const fs::path folder = run / "checkpoints";
  std::vector<fs::path> all = whole_checkpoints(folder);
  if (fs::is_directory(folder)) {
    std::vector<fs::path> leftovers;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().filename().string().starts_with(".")) leftovers.push_back(entry.path());
    for (const auto& path : leftovers) fs::remove_all(path);
  }
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    try {
      const nlohmann::json state = read_json_file((*it / "state.json").string());
      session.restore(state.at("step").get<std::int64_t>(), read_safetensors(*it / "weights.safetensors"),
                      read_safetensors(*it / "optimizer.safetensors"));
      return state.at("progress");
    } catch (const std::exception& e) {
      std::fprintf(stderr, "scalevec: %s cannot be used (%s); trying the one before\n", it->c_str(), e.what());
      // Out of the way, or the step's new checkpoint would be taken for written.
      fs::rename(*it, folder / (".damaged-" + it->filename().string()));
    }
  }
  return nullptr;
}

}  // namespace scalevec
