#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "experiments/distributed/rank_watch.hpp"
#include "experiments/distributed/rendezvous.hpp"

namespace scalevec::experiments {

// The processes that train one model together, over Gloo between CPUs and NCCL between GPUs. All ranks must make the
// same calls in the same order. If a collective operation fails because a rank is gone, the process ends with the line
// of RankWatch, or throws RunError.
class ProcessGroup {
 public:
  // Waits for all ranks for at most `timeout` seconds, which is also the timeout of the watch. `identity` is the digest
  // of what all ranks must have in common. Throws UsageError if this build has no Gloo (or, for a CUDA device, no
  // NCCL), and, on every rank, if a rank was given another size or another `identity`. Throws RunError with the ranks
  // that did not come.
  static std::shared_ptr<ProcessGroup> join(const Rendezvous& rendezvous, torch::Device device, double timeout,
                                            const std::string& identity);
  ~ProcessGroup();

  int rank() const;
  int size() const;
  RankWatch& watch();

  // Waits for a collective operation that was started. Its tensors must exist until then.
  using Pending = std::function<void()>;

  // The sum over the ranks, in place, with the same bits on each rank. Tensors are on the CPU or on the group's device.
  Pending start_sum(torch::Tensor& tensor);
  Pending start_broadcast(torch::Tensor& tensor, int from);
  void sum(std::span<double> values);
  void broadcast(torch::Tensor& tensor, int from) { start_broadcast(tensor, from)(); }

  // For CPU tensors.
  void send(torch::Tensor tensor, int to);
  void receive(torch::Tensor tensor, int from);

  // The last call, when every rank is done. If it is missing, the end of the group counts as a failure of this rank.
  void finish();

 private:
  struct Impl;
  explicit ProcessGroup(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// While it lives, the other ranks wait for this one without taking it for hung; null without a group.
inline std::unique_ptr<RankWatch::Busy> busy_with(ProcessGroup* group) {
  return group ? std::make_unique<RankWatch::Busy>(group->watch()) : nullptr;
}

}  // namespace scalevec::experiments
