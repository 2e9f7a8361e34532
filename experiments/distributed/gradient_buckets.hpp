#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "scalevec/experiments/distributed/process_group.hpp"
#include "scalevec/optim/named_param.hpp"

namespace scalevec {

// Sums gradients over the ranks while backward still runs: parameters are packed into buckets in the reverse of their
// order, which is about the order in which their gradients come, and a bucket's sum starts when its last gradient is
// there (Li et al., PyTorch Distributed, arXiv 2006.15704).
class GradientBuckets {
 public:
  // 25 MiB, as PyTorch's DistributedDataParallel has it: large enough for full bandwidth, small enough for overlap.
  static constexpr std::int64_t kBytes = 25 << 20;

  GradientBuckets(std::shared_ptr<ProcessGroup> group, const std::vector<NamedParam>& params,
                  std::int64_t bytes = kBytes);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  // The next backward is the step's last.
  void arm();

  // Waits for the sums; then every gradient is a view of its bucket, and undefined where it is on every rank. `values`
  // are summed too.
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

}  // namespace scalevec
