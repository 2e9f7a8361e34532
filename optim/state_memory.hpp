#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>

// Where an optimizer's state lies.
namespace scalevec {

// Hands out zeroed tensors on the CPU from large blocks, on huge pages where the kernel offers them: a step reads and
// writes its state once, at the speed of memory, and small pages cost a tenth of it. A block lives as long as any of
// its tensors; what was not handed out is address space only. Where the system refuses a block, tensors are ordinary
// ones.
class StateMemory {
 public:
  // Zeros laid out like `like`, or, where its elements have gaps or overlap, as zeros_like would.
  torch::Tensor zeros_like(const torch::Tensor& like, torch::Dtype dtype);
  torch::Tensor zeros(c10::IntArrayRef sizes, torch::Dtype dtype);

 private:
  torch::Tensor zeros(c10::IntArrayRef sizes, c10::IntArrayRef strides, torch::Dtype dtype);
  std::byte* take(std::size_t bytes);  // null if there is none

  std::shared_ptr<void> block_;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
};

}  // namespace scalevec
