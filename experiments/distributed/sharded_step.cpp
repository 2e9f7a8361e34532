#include "experiments/distributed/sharded_step.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>

#include "experiments/distributed/gradient_buckets.hpp"
#include "experiments/distributed/partition.hpp"
#include "optim/method.hpp"

namespace scalevec::experiments {
namespace {

// Parameters of one owner that travel together.
struct Parcel {
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
  std::vector<Parcel> parcels;
  size_t rounds = 0;
  for (const auto& own : packs) rounds = std::max(rounds, own.size());
  // Owners take turns, so that all of them send at once.
  for (size_t round = 0; round < rounds; ++round)
    for (size_t owner = 0; owner < packs.size(); ++owner) {
      if (round >= packs[owner].size()) continue;
      Parcel parcel{static_cast<int>(owner), {}, packs[owner][round], {}};
      if (parcel.parts.size() == 1 && parcel.parts[0].is_contiguous()) {
        parcel.flat = parcel.parts[0];
        parcel.parts.clear();
      } else {
        std::vector<torch::Tensor> flats;
        std::int64_t elements = 0;
        for (const torch::Tensor& p : parcel.parts) elements += p.numel();
        if (parcel.owner == group_->rank()) {
          for (const torch::Tensor& p : parcel.parts) flats.push_back(p.reshape({-1}));
          parcel.flat = torch::cat(flats);
        } else {
          parcel.flat = torch::empty({elements}, parcel.parts[0].options());
        }
      }
      parcels.push_back(std::move(parcel));
      parcels.back().pending = group_->start_broadcast(parcels.back().flat, parcels.back().owner);
    }
  for (Parcel& parcel : parcels) {
    parcel.pending();
    if (parcel.owner == group_->rank()) continue;
    std::int64_t at = 0;
    for (torch::Tensor& part : parcel.parts) {
      part.copy_(parcel.flat.narrow(0, at, part.numel()).view(part.sizes()));
      at += part.numel();
    }
  }
}

}  // namespace scalevec::experiments
