#pragma once

#include <memory>

#include "experiments/distributed/process_group.hpp"
#include "experiments/train/run_config.hpp"

namespace scalevec::experiments {

// The group of the processes that a launcher started for this run, by read_rendezvous() of the environment; null for
// one process. Settles what depends on the others: our GPU, by the local rank; where `threads` is 0 and the launcher
// has not set OMP_NUM_THREADS, our part of the machine's cores. UsageError for a run that several processes cannot
// train.
std::shared_ptr<ProcessGroup> join_launched(const RunConfig& config, double timeout);

// Why several processes cannot train the run, in one line; empty if they can.
std::string parallel_error(const RunConfig& config, int processes);

}  // namespace scalevec::experiments
