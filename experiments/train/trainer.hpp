#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "experiments/train/run_config.hpp"
#include "experiments/train/run_folder.hpp"

namespace scalevec::experiments {

class ProcessGroup;

// The configured run with its model and data in memory, and nothing of it in its folder yet.
class Trainer {
 public:
  virtual ~Trainer() = default;

  // Trains in the folder, which is this process's own, and returns the exit status as train() does.
  virtual int run(bool resume) = 0;
};

// `changed`: the keys that differ from the folder's run, of claim_folder(). Throws what a wrong configuration throws.
std::unique_ptr<Trainer> make_trainer(const RunConfig& config, const std::filesystem::path& out,
                                      std::int64_t profiled_steps, std::shared_ptr<ProcessGroup> group,
                                      std::vector<ChangedKey> changed);

}  // namespace scalevec::experiments
