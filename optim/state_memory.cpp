#include "scalevec/optim/state_memory.hpp"

#include <sys/mman.h>
#include <torch/types.h>

#include <algorithm>

namespace scalevec {
namespace {

constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr std::size_t kBlock = std::size_t{1} << 26;

// Buffers of equal size start at different places of their pages, or their loads would wait for each other's stores.
constexpr std::size_t kAlignment = 64, kStagger = 5 * kAlignment;

std::size_t rounded_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

}  // namespace

std::byte* StateMemory::take(std::size_t bytes) {
  const std::size_t wanted = rounded_up(bytes, kAlignment) + kStagger;
  if (wanted > left_) {
    const std::size_t size = rounded_up(std::max(wanted, kBlock), kHugePage), mapped = size + kHugePage;
    void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    block_ = std::shared_ptr<void>(memory, [mapped](void* p) { munmap(p, mapped); });
    next_ = reinterpret_cast<std::byte*>(rounded_up(reinterpret_cast<std::uintptr_t>(memory), kHugePage));
    left_ = size;
    madvise(next_, size, MADV_HUGEPAGE);
  }
  std::byte* taken = next_;
  next_ += wanted;
  left_ -= wanted;
  return taken;
}

torch::Tensor StateMemory::zeros(c10::IntArrayRef sizes, c10::IntArrayRef strides, torch::Dtype dtype) {
  const auto options = torch::dtype(dtype).device(torch::kCPU);
  const auto count = static_cast<std::size_t>(c10::multiply_integers(sizes));
  std::byte* data = count > 0 ? take(count * c10::elementSize(dtype)) : nullptr;
  if (!data) return at::empty_strided(sizes, strides, options).zero_();
  return at::from_blob(
      data, sizes, strides, [block = block_](void*) {}, options);
}

torch::Tensor StateMemory::zeros(c10::IntArrayRef sizes, torch::Dtype dtype) {
  std::vector<std::int64_t> strides(sizes.size());
  std::int64_t stride = 1;
  for (std::size_t i = sizes.size(); i-- > 0; stride *= std::max<std::int64_t>(1, sizes[i])) strides[i] = stride;
  return zeros(sizes, strides, dtype);
}

torch::Tensor StateMemory::zeros_like(const torch::Tensor& like, torch::Dtype dtype) {
  if (!like.is_non_overlapping_and_dense())
    return torch::zeros_like(like.detach(), torch::dtype(dtype).device(torch::kCPU).requires_grad(false));
  return zeros(like.sizes(), like.strides(), dtype);
}

}  // namespace scalevec
