#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "experiments/distributed/process_group.hpp"
#include "optim/role_policy.hpp"
#include "optim/step_shard.hpp"

namespace scalevec::experiments {

// Divides the optimizer's step over the ranks by the cost of each parameter's update, above all Muon's
// orthogonalisations, and sends the new values to all ranks in packed broadcasts, all at the same time (ZeRO-1, arXiv
// 1910.02054).
class ShardedStep : public StepShard {
 public:
  // `rows` are those of the policy; their order must be the same on every rank.
  ShardedStep(std::shared_ptr<ProcessGroup> group, const std::vector<PolicyRow>& rows);

  int owner(const std::string& parameter) const { return owners_.at(parameter); }

  bool owns(const std::string& parameter) const override { return owner(parameter) == group_->rank(); }
  void sum(std::span<double> values) override { group_->sum(values); }
  void share(const std::vector<std::string>& names, const std::vector<torch::Tensor>& parameters) override;

 private:
  std::shared_ptr<ProcessGroup> group_;
  std::map<std::string, int> owners_;
};

}  // namespace scalevec::experiments
