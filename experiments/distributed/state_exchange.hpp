#pragma once

#include <torch/types.h>

#include <string>
#include <utility>
#include <vector>

#include "experiments/distributed/process_group.hpp"

namespace scalevec::experiments {

// Named tensors, sent from one rank to another with their names, shapes and dtypes. The receiver gets them on the CPU.
using StateEntries = std::vector<std::pair<std::string, torch::Tensor>>;
void send_entries(ProcessGroup& group, const StateEntries& entries, int to);
StateEntries receive_entries(ProcessGroup& group, int from);

}  // namespace scalevec::experiments
