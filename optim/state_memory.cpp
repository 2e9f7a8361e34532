#include "optim/state_memory.hpp"

#include <sys/mman.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace scalevec {
namespace {

constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr std::size_t kFirstBlock = std::size_t{1} << 12, kLargestBlock = std::size_t{1} << 26;

// Buffers of equal size start at different places of their pages, or their loads would wait for each other's stores.
constexpr std::size_t kAlignment = 64, kStagger = 5 * kAlignment;

std::size_t rounded_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

// Under the address sanitizer every buffer is an allocation of its own, so that one byte past its end is seen.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kInBlocks = false;
#else
constexpr bool kInBlocks = true;
#endif

}  // namespace

bool StateMemory::grow(std::size_t wanted) {
  std::size_t size = std::max(wanted, std::clamp(handed_out_, kFirstBlock, kLargestBlock));
  if (size < kHugePage) {
    size = rounded_up(size, kAlignment);
    void* memory = std::aligned_alloc(kAlignment, size);
    if (!memory) return false;
    std::memset(memory, 0, size);
    block_ = std::shared_ptr<void>(memory, [](void* p) { std::free(p); });
    next_ = static_cast<std::byte*>(memory);
  } else {
    size = rounded_up(size, kHugePage);
    const std::size_t mapped = size + kHugePage;
    void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    block_ = std::shared_ptr<void>(memory, [mapped](void* p) { munmap(p, mapped); });
    next_ = reinterpret_cast<std::byte*>(rounded_up(reinterpret_cast<std::uintptr_t>(memory), kHugePage));
    madvise(next_, size, MADV_HUGEPAGE);
  }
  left_ = size;
  return true;
}

std::byte* StateMemory::take(std::size_t bytes) {
  const std::size_t wanted = rounded_up(bytes, kAlignment) + kStagger;
  if (!kInBlocks || (wanted > left_ && !grow(wanted))) return nullptr;
  std::byte* taken = next_;
  next_ += wanted;
  left_ -= wanted;
  handed_out_ += wanted;
  return taken;
}

torch::Tensor StateMemory::zeros(c10::IntArrayRef sizes, c10::IntArrayRef strides, torch::Dtype dtype) {
  const auto options = torch::dtype(dtype).device(torch::kCPU);
  const auto count = static_cast<std::size_t>(c10::multiply_integers(sizes));
  std::byte* data = count > 0 ? take(count * c10::elementSize(dtype)) : nullptr;
  if (!data) return at::empty_strided(sizes, strides, options).zero_();
  // Not from_blob, inside which running out of memory ends the program.
  auto hold = std::make_unique<std::shared_ptr<void>>(block_);
  c10::DataPtr memory(
      data, hold.get(), [](void* p) { delete static_cast<std::shared_ptr<void>*>(p); }, torch::kCPU);
  hold.release();
  c10::Storage storage(c10::Storage::use_byte_size_t(), count * c10::elementSize(dtype), std::move(memory), nullptr,
                       /*resizable=*/false);
  torch::Tensor out = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CPU), caffe2::TypeMeta::fromScalarType(dtype));
  out.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides);
  return out;
}

torch::Tensor StateMemory::zeros(c10::IntArrayRef sizes, torch::Dtype dtype) {
  std::vector<std::int64_t> strides(sizes.size());
  std::int64_t stride = 1;
  for (std::size_t i = sizes.size(); i-- > 0; stride *= std::max<std::int64_t>(1, sizes[i])) strides[i] = stride;
  return zeros(sizes, strides, dtype);
}

}  // namespace scalevec
