#include <sanitizer/allocator_interface.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/targets.hpp"

// libFuzzer's entry to the target SCALEVEC_FUZZ_TARGET, which also holds what a reader allocates against its input's
// size.
namespace {

// A byte of JSON can become an element of an object: a node of a tree with two strings. The constant covers streams'
// buffers and a message, not a table.
constexpr std::size_t kBytesPerByte = 400, kBytes = 1 << 20;

std::atomic<std::size_t> live{0}, peak{0};
std::atomic<bool> counting{false};

void on_malloc(const volatile void*, std::size_t size) {
  if (!counting) return;
  const std::size_t now = live += size;
  if (now > peak) peak = now;
}

void on_free(const volatile void* memory) {
  if (!counting || memory == nullptr) return;
  const std::size_t size = __sanitizer_get_allocated_size(memory);
  live = size > live ? 0 : live - size;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  live = peak = 0;
  counting = true;
  scalevec::fuzz::SCALEVEC_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  counting = false;
  if (peak > kBytesPerByte * size + kBytes) {
    std::fprintf(stderr, "%zu bytes allocated at once for an input of %zu\n", peak.load(), size);
    std::abort();
  }
  return 0;
}
