#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "scalevec/experiments/distributed/gradient_buckets.hpp"
#include "scalevec/experiments/distributed/process_group.hpp"
#include "scalevec/experiments/distributed/sharded_step.hpp"
#include "scalevec/experiments/distributed/state_exchange.hpp"
#include "scalevec/optim/optimizer.hpp"

namespace scalevec {

// One rank's part in training a model that every rank holds: its rows of each batch, gradients summed over the ranks,
// the optimizer's step and state divided among them. Losses of a rank are scaled by its share of the batch, so that
// sums over the ranks are means over the batch.
class DataParallel {
 public:
  // Makes `optimizer` step its shard.
  DataParallel(std::shared_ptr<ProcessGroup> group, const std::vector<NamedParam>& params, const RolePolicy& policy,
               Optimizer& optimizer);

  ProcessGroup& group() { return *group_; }
  GradientBuckets& gradients() { return gradients_; }

  // This rank's rows of `rows`, the same number on each rank where it divides them.
  struct Rows {
    std::int64_t first, count;
  };
  Rows rows(std::int64_t rows) const;

  // The whole optimizer state in rank 0, in the order of one process; elsewhere empty.
  StateEntries gather_state(const Optimizer& optimizer);

  // Rank 0's steps done, weights and, of `state`, which only rank 0 has, each rank's part.
  void share_start(std::int64_t& steps_done, StateEntries weights, const StateEntries& state, Optimizer& optimizer);

 private:
  std::shared_ptr<ProcessGroup> group_;
  GradientBuckets gradients_;
  std::shared_ptr<ShardedStep> shard_;
};

}  // namespace scalevec
