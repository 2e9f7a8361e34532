#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "optim/method.hpp"

// The matrices of a step on a device. Not installed.
namespace scalevec::cuda {

struct CudaEntry;

// Matrices of one shape under the same options lie one behind the other, so that LibTorch's batched products form their
// updates together. The memory stays where it is as long as the entries have the same shapes, in their order.
class MatrixBatches {
 public:
  void fit(const std::vector<CudaEntry>& entries);

  // Of an entry: its batch, -1 for that of an elementwise method, and its matrix's update in it.
  std::int64_t batch_of(std::size_t entry) const { return places_[entry].batch; }
  torch::Tensor update_of(std::size_t entry) const;

  bool empty() const { return batches_.empty(); }
  // The group of a batch's last pass.
  void note_group(std::int64_t batch, std::int32_t group) { batches_[static_cast<std::size_t>(batch)].group = group; }
  // Enqueues what makes updates of what the first passes left. On the device, `refused`: bool, a scalar; the lr of a
  // group: float64, a scalar.
  void form(const torch::Tensor& refused, const std::function<torch::Tensor(std::int32_t group)>& lr_of);

 private:
  struct Batch {
    DeviceMatrices matrices;
    const MatrixMethod* method = nullptr;
    torch::Dtype type{};  // of the state
    std::int32_t group = 0;
    torch::Tensor room;  // for the update, kept from step to step
  };
  struct Place {
    std::int64_t batch = -1, index = 0;
  };

  std::vector<Batch> batches_;
  std::vector<Place> places_;
};

}  // namespace scalevec::cuda
