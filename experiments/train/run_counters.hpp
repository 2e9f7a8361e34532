#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "experiments/train/session.hpp"

namespace scalevec::experiments {

// What the trainer counts besides the session's own state; a checkpoint has it.
struct RunCounters {
  double training_seconds = 0.0;
  double cpu_seconds = 0.0;  // of training, every thread's
  double seconds = 0.0;
  double best_val_loss = std::numeric_limits<double>::infinity();
  double train_loss = kNoTrace;
  std::int64_t val_step = -1;  // of the last validation; -1: none yet
  double val_loss = kNoTrace;

  nlohmann::json to_json() const;
  void from_json(const nlohmann::json& j);
};

// The CPU time of this process so far, every thread's.
double process_cpu_seconds();

// What trains: device, threads, processes, git_commit, machine, versions. Where one of them differs, so may the bits.
nlohmann::json run_maker(const Session& session, int processes);

// The part of summary.json that says what was trained on which machine, and how it ended. `seconds` since the run
// began.
nlohmann::json run_summary(const char* status, const Session& session, const RunCounters& counters, double seconds,
                           int processes);

}  // namespace scalevec::experiments
