#pragma once

#include <filesystem>
#include <memory>

#include "experiments/train/run_config.hpp"

namespace scalevec::experiments {

class ProcessGroup;

// Trains the configured run in the folder `out` and returns the exit status: 0 done; 1 diverged; 128 + the signal
// (kStopSignals: 130, 143, 129, 141) if one stopped it, with a checkpoint written; 75 if another process trains the run
// (run_lock.hpp). Writes config.json, policy.json, metrics.jsonl, traces.jsonl, summary.json and checkpoints/, and with
// `profiled_steps` > 0 also profile.json (profiler.hpp). With `resume` it continues from the newest checkpoint, or
// starts if there is none; a finished run is not changed. Throws UsageError if `out` contains another configuration, or
// a run and `resume` is false. With a group, every rank calls it and gets the same result; only rank 0 reads and writes
// `out` and reports progress.
int train(const RunConfig& config, const std::filesystem::path& out, bool resume, std::int64_t profiled_steps = 0,
          std::shared_ptr<ProcessGroup> group = nullptr);

}  // namespace scalevec::experiments
