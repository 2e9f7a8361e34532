#include "experiments/distributed/data_parallel.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <map>

#include "experiments/errors.hpp"
#include "optim/step_hooks.hpp"

namespace scalevec::experiments {
namespace {

std::string parameter_of(const std::string& entry) { return entry.substr(0, entry.rfind('/')); }

}  // namespace

DataParallel::DataParallel(std::shared_ptr<ProcessGroup> group, const std::vector<NamedParam>& params,
                           const std::vector<PolicyRow>& policy, Optimizer& optimizer)
    : group_(group), gradients_(group, params), shard_(std::make_shared<ShardedStep>(group, policy)) {
  StepHooks(optimizer).set_shard(shard_);
}

void DataParallel::check_same_data(const std::string& data_hash) {
  std::vector<double> hashes(static_cast<size_t>(group_->size()));
  hashes[static_cast<size_t>(group_->rank())] = static_cast<double>(std::stoull(data_hash.substr(0, 12), nullptr, 16));
  group_->sum(hashes);
  for (size_t rank = 1; rank < hashes.size(); ++rank)
    if (hashes[rank] != hashes[0])
      throw UsageError("rank " + std::to_string(rank) + " has other data than rank 0; allowed: the same tokens");
}

DataParallel::Rows DataParallel::rows(std::int64_t rows) const {
  const std::int64_t rank = group_->rank(), size = group_->size();
  const std::int64_t first = rows * rank / size;
  return {first, rows * (rank + 1) / size - first};
}

StateEntries DataParallel::gather_state(const Optimizer& optimizer) {
  const RankWatch::Busy busy(group_->watch());
  StateEntries all = optimizer.named_state();
  if (group_->rank() != 0) {
    send_entries(*group_, all, 0);
    return {};
  }
  for (int rank = 1; rank < group_->size(); ++rank)
    for (auto& entry : receive_entries(*group_, rank)) all.push_back(std::move(entry));
  std::map<std::string, size_t> place;
  for (const std::string& name : optimizer.names()) place.emplace(name, place.size());
  std::stable_sort(all.begin(), all.end(), [&](const auto& a, const auto& b) {
    return place.at(parameter_of(a.first)) < place.at(parameter_of(b.first));
  });
  return all;
}

void DataParallel::share_start(std::int64_t& steps_done, StateEntries weights, const StateEntries& state,
                               Optimizer& optimizer) {
  const torch::NoGradGuard no_grad;
  const RankWatch::Busy busy(group_->watch());
  torch::Tensor done = torch::tensor(steps_done, torch::kInt64);
  group_->broadcast(done, 0);
  steps_done = done.item<std::int64_t>();
  if (steps_done == 0) return;
  for (auto& [name, tensor] : weights) {
    torch::Tensor dense = tensor.contiguous();
    group_->broadcast(dense, 0);
    if (dense.data_ptr() != tensor.data_ptr()) tensor.copy_(dense);
  }
  for (int rank = 1; rank < group_->size(); ++rank) {
    if (group_->rank() == rank) {
      StateEntries own = receive_entries(*group_, 0);
      optimizer.load_named_state(own);
    } else if (group_->rank() == 0) {
      StateEntries part;
      for (const auto& entry : state)
        if (shard_->owner(parameter_of(entry.first)) == rank) part.push_back(entry);
      send_entries(*group_, part, rank);
    }
  }
}

}  // namespace scalevec::experiments
