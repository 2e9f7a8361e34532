#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "scalevec/experiments/distributed/rank_watch.hpp"
#include "scalevec/experiments/distributed/rendezvous.hpp"

namespace scalevec {

// The processes that train one model together: Gloo between CPUs, NCCL between GPUs. Every rank makes the same calls in
// the same order. Where a collective fails because a rank is gone, the process ends with the line of RankWatch, or else
// throws RunError.
class ProcessGroup {
 public:
  // Waits for all ranks at most `timeout` seconds, which is also the watch's. UsageError where this build has no Gloo
  // (or, for a CUDA device, no NCCL), and on every rank where one was told of another size or given another `identity`,
  // the digest of what all must have alike; RunError that names the ranks that did not come.
  static std::shared_ptr<ProcessGroup> join(const Rendezvous& rendezvous, torch::Device device, double timeout,
                                            const std::string& identity);
  ~ProcessGroup();

  int rank() const;
  int size() const;
  RankWatch& watch();

  // What a collective has still to do. The tensors must live until then.
  using Pending = std::function<void()>;

  // Σ over the ranks, in place, the same bits on each. On the CPU or the group's device.
  Pending start_sum(torch::Tensor& tensor);
  Pending start_broadcast(torch::Tensor& tensor, int from);
  void sum(std::span<double> values);
  void broadcast(torch::Tensor& tensor, int from) { start_broadcast(tensor, from)(); }

  // Of CPU tensors.
  void send(torch::Tensor tensor, int to);
  void receive(torch::Tensor tensor, int from);

  // The last call: every rank is done. Without it, the end of the group counts as this rank's failure.
  void finish();

 private:
  struct Impl;
  explicit ProcessGroup(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace scalevec
