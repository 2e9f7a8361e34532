#pragma once

#include <filesystem>
#include <memory>

#include "scalevec/experiments/train/run_config.hpp"

namespace scalevec {

class ProcessGroup;

// Trains the configured run in `out` and returns the exit status: 0 done, 1 diverged, 128 + the signal (kStopSignals:
// 130, 143, 129, 141) after one with a checkpoint written, 75 if another process is at work on it, to which it is left
// (run_lock.hpp). Writes config.json, policy.json, metrics.jsonl, traces.jsonl, summary.json and checkpoints/; with
// `profiled_steps` > 0 also profile.json (profiler.hpp). With `resume` it goes on from the newest checkpoint, or starts
// if there is none; a run that is done is left as it is. UsageError if `out` holds another configuration, or a run and
// `resume` is not set. With a group every rank calls it and returns the same; rank 0 alone reads and writes `out` and
// reports progress.
int train(const RunConfig& config, const std::filesystem::path& out, bool resume, std::int64_t profiled_steps = 0,
          std::shared_ptr<ProcessGroup> group = nullptr);

// From now on kStopSignals (child_process.hpp) ask for a stop at the next step; SIGHUP and SIGPIPE stay ignored where
// they were.
void install_signal_handlers();
int stop_signal();  // 0 if none came

}  // namespace scalevec
