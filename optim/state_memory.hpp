#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>

// Where an optimizer's state lies.
namespace scalevec {

// Hands out zeroed tensors on the CPU from blocks, each as large as all before it, up to 64 MB. Blocks of 2 MB and more
// lie on huge pages where the kernel offers them: a step reads and writes its state once, at the speed of memory, and
// small pages cost a tenth of it. A block lives as long as any of its tensors; what was not handed out of a large one
// is address space only. Where the system refuses a block, tensors are ordinary ones.
class StateMemory {
 public:
  // Zeros of these strides, whose elements neither overlap nor have gaps.
  torch::Tensor zeros(c10::IntArrayRef sizes, c10::IntArrayRef strides, torch::Dtype dtype);
  torch::Tensor zeros(c10::IntArrayRef sizes, torch::Dtype dtype);  // contiguous

 private:
  std::byte* take(std::size_t bytes);  // null if there is none
  bool grow(std::size_t wanted);

  std::shared_ptr<void> block_;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
  std::size_t handed_out_ = 0;
};

}  // namespace scalevec
