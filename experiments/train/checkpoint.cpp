#include "experiments/train/checkpoint.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "optim/config/checksum.hpp"

namespace scalevec::experiments {
namespace {

constexpr const char *kDamaged = ".damaged-", *kState = "state.json", *kWeights = "weights.safetensors",
                     *kOptimizer = "optimizer.safetensors";

namespace fs = std::filesystem;

std::string folder_name(std::int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "step-%08lld", static_cast<long long>(step));
  return text;
}

}  // namespace

void write_checkpoint(const fs::path& run, const Session& session, const models::NamedTensors& average,
                      const models::NamedTensors& optimizer_state, const nlohmann::json& config,
                      const nlohmann::json& progress, std::int64_t keep) {
  const fs::path folder = run / "checkpoints";
  const fs::path final_place = folder / folder_name(session.steps_done());
  const fs::path beside = folder / (".writing-" + folder_name(session.steps_done()));
  try {
    fs::create_directories(folder);
    if (!fs::exists(final_place)) {
      fs::remove_all(beside);
      fs::create_directory(beside);
      nlohmann::json state = {
          {"format", 2}, {"step", session.steps_done()}, {"config", config}, {"progress", progress}};
      // So that a file of another checkpoint is not taken for this one's.
      state["files"][kWeights] = models::write_safetensors(beside / kWeights, session.weights());
      state["files"][kOptimizer] = models::write_safetensors(beside / kOptimizer, optimizer_state);
      if (!average.empty())
        state["files"][kAverageWeights] = models::write_safetensors(beside / kAverageWeights, average);
      write_record(beside / kState, state.dump(1) + "\n");
      sync_folder(beside);
      fs::rename(beside, final_place);
      sync_folder(folder);
    }
    std::vector<fs::path> all = checkpoint_folders(run);
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

namespace {

// What a file system refuses says nothing of the file's content.
void check_readable(const fs::path& checkpoint) {
  for (const char* name : {kState, kWeights, kOptimizer}) {
    const fs::path file = checkpoint / name;
    std::FILE* opened = std::fopen(file.c_str(), "rb");
    if (!opened && errno != ENOENT)
      throw RunError(file.string() + " cannot be read (" + std::strerror(errno) + "); nothing was changed");
    if (opened) std::fclose(opened);
  }
}

}  // namespace

nlohmann::json restore_latest(const fs::path& run, Session& session) {
  const fs::path folder = run / "checkpoints";
  std::vector<fs::path> all = checkpoint_folders(run);
  bool damaged = false;
  if (fs::is_directory(folder)) {
    std::vector<fs::path> leftovers;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(kDamaged))
        damaged = true;
      else if (name.starts_with("."))
        leftovers.push_back(entry.path());
    }
    for (const auto& path : leftovers) fs::remove_all(path);
  }
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    check_readable(*it);
    try {
      const nlohmann::json state = checkpoint_state(*it);
      session.restore(state.at("step").get<std::int64_t>(),
                      models::read_safetensors(*it / kWeights, checksum_in(state, kWeights)),
                      models::read_safetensors(*it / kOptimizer, checksum_in(state, kOptimizer)));
      return state.at("progress");
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const std::exception& e) {
      std::fprintf(stderr, "scalevec: %s cannot be used (%s); trying the one before\n", it->c_str(), e.what());
      // Out of the way, or the step's new checkpoint would be taken for written.
      const fs::path aside = folder / (kDamaged + it->filename().string());
      fs::remove_all(aside);
      fs::rename(*it, aside);
      damaged = true;
    }
  }
  if (damaged)
    throw RunError("no checkpoint in " + folder.string() + " can be used, and the damaged ones are kept there as " +
                   kDamaged + "step-…; without that folder --resume starts anew");
  return nullptr;
}

}  // namespace scalevec::experiments
