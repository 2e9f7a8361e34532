#include "experiments/system/memory.hpp"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace scalevec::experiments {
namespace {

constexpr std::uintptr_t kHugePage = std::uintptr_t{1} << 21;

// LibTorch's messages of CUDA and its libraries, and those of our own kernels' host side.
bool of_cuda(const std::string& line) {
  for (const char* start : {"CUDA error: ", "CUDA: ", "cuDNN error: ", "cuBLAS error: ", "NCCL error"})
    if (line.starts_with(start)) return true;
  return false;
}

}  // namespace

void keep_freed_memory() {
  mallopt(M_TRIM_THRESHOLD, -1);  // never trim
  mallopt(M_MMAP_MAX, 0);         // one heap also for large blocks
  mallopt(M_ARENA_MAX, 1);

  rlimit space{};
  if (getrlimit(RLIMIT_AS, &space) != 0 || space.rlim_cur != RLIM_INFINITY) return;
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return;
  // Half of the machine's memory as address space only: nothing is touched, so nothing is used.
  const std::size_t reach = static_cast<std::size_t>(pages) / 2 * static_cast<std::size_t>(page);
  void* block = std::malloc(reach);
  if (!block) return;
  const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(block) + kHugePage - 1) & ~(kHugePage - 1);
  const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(block) + reach) & ~(kHugePage - 1);
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a kernel without them keeps small ones
  std::free(block);
}

std::optional<std::string> out_of_memory(const std::exception& e) {
  if (dynamic_cast<const std::bad_alloc*>(&e)) return "out of memory";
  // LibTorch's messages carry a backtrace after their first line.
  const std::string what = e.what(), line = what.substr(0, what.find('\n'));
  for (const auto& [start, amount] :
       {std::pair{"[enforce fail", "you tried to allocate"}, std::pair{"CUDA out of memory", "Tried to allocate"}})
    if (const auto at = line.find(amount); line.starts_with(start) && at != std::string::npos)
      return "out of memory: " + line.substr(at);
  if (of_cuda(line))
    for (const char* word : {"out of memory", "ALLOC_FAILED"})
      if (line.find(word) != std::string::npos) return "out of memory on the GPU: " + line;
  return std::nullopt;
}

std::optional<std::string> gpu_failed(const std::exception& e) {
  const std::string what = e.what(), line = what.substr(0, what.find('\n'));
  if (!of_cuda(line) || out_of_memory(e)) return std::nullopt;
  return "the GPU failed: " + line;
}

}  // namespace scalevec::experiments
