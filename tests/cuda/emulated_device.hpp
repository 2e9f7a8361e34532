#pragma once

#include <math.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

// Enough of CUDA's language to compile the step kernels for the host: a context of its own per thread of a block, one
// block after another. Between two barriers the threads run one at a time, in another random order each time, so that a
// kernel with a missing barrier gives other values. Shared memory is a static array, since no two blocks run at once.
#define __global__ inline
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)

struct EmulatedIndex {
  unsigned x = 0;
};
inline EmulatedIndex threadIdx;
inline EmulatedIndex blockIdx;

inline constexpr unsigned kEmulatedThreads = 256;

class EmulatedBlock {
 public:
  static EmulatedBlock& instance() {
    static EmulatedBlock block;
    return block;
  }

  template <class Kernel>
  void run(const Kernel& kernel) {
    kernel_ = &kernel;
    call_ = [](const void* k) { (*static_cast<const Kernel*>(k))(); };
    for (unsigned t = 0; t < kEmulatedThreads; ++t) {
      Thread& thread = threads_[t];
      getcontext(&thread.context);
      thread.context.uc_stack.ss_sp = thread.stack.get();
      thread.context.uc_stack.ss_size = kStack;
      thread.context.uc_link = &scheduler_;
      makecontext(
          &thread.context, [] { instance().call_(instance().kernel_); }, 0);
      thread.waits = true;
    }
    for (bool running = true; running;) {
      std::shuffle(order_.begin(), order_.end(), random_);
      running = false;
      all_ = next_all_;
      next_all_ = true;
      for (const unsigned t : order_) {
        if (!threads_[t].waits) continue;
        threads_[t].waits = false;
        threadIdx.x = t;
        swapcontext(&scheduler_, &threads_[t].context);
        running = running || threads_[t].waits;
      }
    }
  }

  // Whether every thread came with true.
  bool wait(bool value) {
    Thread& thread = threads_[threadIdx.x];
    next_all_ = next_all_ && value;
    thread.waits = true;
    swapcontext(&thread.context, &scheduler_);
    return all_;
  }

 private:
  static constexpr std::size_t kStack = 256 << 10;
  struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[kStack]};
    bool waits = false;  // at a barrier, or to be started
  };

  EmulatedBlock() : threads_(kEmulatedThreads), order_(kEmulatedThreads) {
    std::iota(order_.begin(), order_.end(), 0u);
  }

  std::vector<Thread> threads_;
  std::vector<unsigned> order_;
  std::mt19937 random_;
  ucontext_t scheduler_;
  const void* kernel_ = nullptr;
  void (*call_)(const void*) = nullptr;
  bool all_ = true, next_all_ = true;
};

inline void __syncthreads() { EmulatedBlock::instance().wait(true); }

inline int __syncthreads_and(int value) { return EmulatedBlock::instance().wait(value != 0); }

// kernel<<<blocks, kEmulatedThreads>>>(…)
template <class Kernel>
void emulated_launch(unsigned blocks, const Kernel& kernel) {
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) EmulatedBlock::instance().run(kernel);
}
