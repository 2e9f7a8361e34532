#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "experiments/distributed/gradient_buckets.hpp"
#include "experiments/distributed/process_group.hpp"
#include "experiments/distributed/sharded_step.hpp"
#include "experiments/distributed/state_exchange.hpp"
#include "optim/optimizer.hpp"

namespace scalevec::experiments {

// One rank's part in training a model that every rank holds: its rows of each batch, the sums of gradients over the
// ranks, and its part of the optimizer's step and state. The loss of a rank is multiplied by its share of the batch, so
// sums over the ranks are means over the batch.
class DataParallel {
 public:
  // `optimizer` then updates only the parameters that this rank owns.
  DataParallel(std::shared_ptr<ProcessGroup> group, const std::vector<NamedParam>& params,
               const std::vector<PolicyRow>& policy, Optimizer& optimizer);

  // Throws UsageError, on every rank, if a rank's hash of its data (hexadecimal digits) is not rank 0's.
  void check_same_data(const std::string& data_hash);

  ProcessGroup& group() { return *group_; }
  GradientBuckets& gradients() { return gradients_; }

  // This rank's rows of a batch of `rows`; the same number on each rank if the number of ranks divides `rows`.
  struct Rows {
    std::int64_t first, count;
  };
  Rows rows(std::int64_t rows) const;

  // On rank 0 the whole optimizer state, in the order that one process has; empty on the other ranks.
  StateEntries gather_state(const Optimizer& optimizer);

  // Sends from rank 0 to all ranks the number of steps done, the weights, and to each rank its part of `state`, which
  // only rank 0 has.
  void share_start(std::int64_t& steps_done, StateEntries weights, const StateEntries& state, Optimizer& optimizer);

 private:
  std::shared_ptr<ProcessGroup> group_;
  GradientBuckets gradients_;
  std::shared_ptr<ShardedStep> shard_;
};

}  // namespace scalevec::experiments
