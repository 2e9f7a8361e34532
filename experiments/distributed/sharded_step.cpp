#include "experiments/distributed/sharded_step.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>

#include "experiments/distributed/gradient_buckets.hpp"
#include "experiments/distributed/partition.hpp"
#include "optim/method.hpp"

namespace scalevec::experiments {
namespace {

// Parameters of one owner that are sent together.
struct OwnerBucket {
  int owner = 0;
  torch::Tensor flat;
  std::vector<torch::Tensor> parts;  // none where flat is the parameter itself
  ProcessGroup::Pending pending;
};

}  // namespace

ShardedStep::ShardedStep(std::shared_ptr<ProcessGroup> group, const std::vector<PolicyRow>& rows)
    : group_(std::move(group)) {
  std::vector<double> costs;
  for (const PolicyRow& row : rows)
    costs.push_back(
        update_cost(row.shape, row.options->implementation().flops(*row.options, row.shape, row.role.row_blocks)));
  const std::vector<int> owners = partition_by_cost(costs, group_->size());
  for (size_t i = 0; i < rows.size(); ++i) owners_[rows[i].name] = owners[i];
}

void ShardedStep::share(const std::vector<std::string>& names, const std::vector<torch::Tensor>& parameters) {
  const torch::NoGradGuard no_grad;
  std::vector<std::vector<std::vector<torch::Tensor>>> packs(static_cast<size_t>(group_->size()));  // by owner
  std::vector<std::int64_t> bytes(packs.size(), 0);
  for (size_t i = 0; i < names.size(); ++i) {
    const auto owner = static_cast<size_t>(this->owner(names[i]));
    const auto size = static_cast<std::int64_t>(parameters[i].nbytes());
    auto& own = packs[owner];
    if (own.empty() || bytes[owner] + size > GradientBuckets::kBytes ||
        own.back()[0].scalar_type() != parameters[i].scalar_type()) {
      own.emplace_back();
      bytes[owner] = 0;
    }
    own.back().push_back(parameters[i]);
    bytes[owner] += size;
  }
  std::vector<OwnerBucket> buckets;
  size_t rounds = 0;
  for (const auto& own : packs) rounds = std::max(rounds, own.size());
  // Owners take turns, so that all of them send at once.
  for (size_t round = 0; round < rounds; ++round)
    for (size_t owner = 0; owner < packs.size(); ++owner) {
      if (round >= packs[owner].size()) continue;
      OwnerBucket bucket{static_cast<int>(owner), {}, packs[owner][round], {}};
      if (bucket.parts.size() == 1 && bucket.parts[0].is_contiguous()) {
        bucket.flat = bucket.parts[0];
        bucket.parts.clear();
      } else {
        std::vector<torch::Tensor> flats;
        std::int64_t elements = 0;
        for (const torch::Tensor& p : bucket.parts) elements += p.numel();
        if (bucket.owner == group_->rank()) {
          for (const torch::Tensor& p : bucket.parts) flats.push_back(p.reshape({-1}));
          bucket.flat = torch::cat(flats);
        } else {
          bucket.flat = torch::empty({elements}, bucket.parts[0].options());
        }
      }
      buckets.push_back(std::move(bucket));
      buckets.back().pending = group_->start_broadcast(buckets.back().flat, buckets.back().owner);
    }
  for (OwnerBucket& bucket : buckets) {
    bucket.pending();
    if (bucket.owner == group_->rank()) continue;
    std::int64_t at = 0;
    for (torch::Tensor& part : bucket.parts) {
      part.copy_(bucket.flat.narrow(0, at, part.numel()).view(part.sizes()));
      at += part.numel();
    }
  }
}

}  // namespace scalevec::experiments
