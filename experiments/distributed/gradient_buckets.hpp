#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "experiments/distributed/process_group.hpp"
#include "optim/named_param.hpp"

namespace scalevec::experiments {

// Sums gradients over the ranks while the backward pass still runs. Parameters are packed into buckets in the reverse
// of their order, which is about the order in which their gradients are computed. The sum of a bucket starts when its
// last gradient is complete (Li et al., PyTorch Distributed, arXiv 2006.15704).
class GradientBuckets {
 public:
  // 25 MiB, the default of PyTorch's DistributedDataParallel: large enough for full bandwidth, small enough for
  // overlap.
  static constexpr std::int64_t kBytes = 25 << 20;

  GradientBuckets(std::shared_ptr<ProcessGroup> group, const std::vector<NamedParam>& params,
                  std::int64_t bytes = kBytes);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  // Says that the next backward pass is the last one of the step.
  void expect_last_backward();

  // Waits for the sums. Every gradient is then a view of its bucket; it is undefined if it is undefined on every rank.
  // `values` are summed over the ranks too.
  void finish(std::vector<double>& values);

  std::int64_t buckets() const;

 private:
  struct Bucket;
  struct Entry;
  class Hook;

  void ready(size_t entry);
  void take(Entry& entry);
  void start_full();

  std::shared_ptr<ProcessGroup> group_;
  std::vector<Bucket> buckets_;
  std::vector<Entry> entries_;
  bool armed_ = false;
  size_t started_ = 0;  // buckets
};

}  // namespace scalevec::experiments
