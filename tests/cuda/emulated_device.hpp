#pragma once

#include <math.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

// Enough of CUDA's language to compile our kernels for the host: a context of its own per thread of a block, one block
// after another. Between two barriers, of the block or of a warp, the threads run one at a time, in another random
// order each time, so that a kernel with a missing barrier gives other values. Shared memory is a static array, since
// no two blocks run at once.
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
inline constexpr unsigned kEmulatedWarp = 32;

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
      thread.state = State::ready;
    }
    do {
      std::shuffle(order_.begin(), order_.end(), random_);
      for (const unsigned t : order_) {
        if (threads_[t].state != State::ready) continue;
        threads_[t].state = State::done;  // unless it comes to a barrier
        threadIdx.x = t;
        swapcontext(&scheduler_, &threads_[t].context);
      }
    } while (release());
  }

  // Whether every thread came with true.
  bool wait(bool value) {
    next_all_ = next_all_ && value;
    pause(State::at_block);
    return all_;
  }

  // What thread `from` of the warp came with. The two places of a thread take turns, so that nobody overwrites what
  // another has still to read.
  template <class T>
  T exchange(T value, unsigned from) {
    static_assert(sizeof(T) <= sizeof(Thread::sent[0]));
    const unsigned turn = threads_[threadIdx.x].turn++ % 2;
    std::memcpy(threads_[threadIdx.x].sent[turn], &value, sizeof(T));
    pause(State::at_warp);
    std::memcpy(&value, threads_[from].sent[turn], sizeof(T));
    return value;
  }

 private:
  static constexpr std::size_t kStack = 256 << 10;
  enum class State { done, ready, at_block, at_warp };
  struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[kStack]};
    State state = State::done;
    unsigned turn = 0;
    char sent[2][8];
  };

  void pause(State state) {
    Thread& thread = threads_[threadIdx.x];
    thread.state = state;
    swapcontext(&thread.context, &scheduler_);
  }

  // Lets those go on whose barrier all threads of a range that still run have reached.
  bool released(unsigned begin, unsigned end, State barrier) {
    bool some = false;
    for (unsigned t = begin; t < end; ++t) {
      if (threads_[t].state != State::done && threads_[t].state != barrier) return false;
      some = some || threads_[t].state == barrier;
    }
    for (unsigned t = begin; t < end; ++t)
      if (threads_[t].state == barrier) threads_[t].state = State::ready;
    return some;
  }

  // Whether any thread goes on. On a device, a barrier that some threads never reach hangs.
  bool release() {
    bool any = false;
    for (unsigned w = 0; w < kEmulatedThreads; w += kEmulatedWarp)
      any = released(w, w + kEmulatedWarp, State::at_warp) || any;
    if (released(0, kEmulatedThreads, State::at_block)) {
      any = true;
      all_ = next_all_;
      next_all_ = true;
    }
    if (!any && std::any_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state != State::done; }))
      std::abort();
    return any;
  }

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

template <class T>
T __shfl_xor_sync(unsigned, T value, int by) {
  return EmulatedBlock::instance().exchange(value, threadIdx.x ^ static_cast<unsigned>(by));
}

// kernel<<<blocks, kEmulatedThreads>>>(…)
template <class Kernel>
void emulated_launch(unsigned blocks, const Kernel& kernel) {
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) EmulatedBlock::instance().run(kernel);
}
