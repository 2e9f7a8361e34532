#pragma once

#include <math.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

// Enough of CUDA's language to compile the step kernels for the host: one operating-system thread per thread of a
// block, one block after another. Shared memory is a static array, since no two blocks run at once.
#define __global__ inline
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)

struct EmulatedIndex {
  unsigned x = 0;
};
inline thread_local EmulatedIndex threadIdx;
inline thread_local EmulatedIndex blockIdx;

inline constexpr int kEmulatedThreads = 256;
inline std::barrier<> emulated_barrier{kEmulatedThreads};
inline std::atomic<int> emulated_false{0};

inline void __syncthreads() { emulated_barrier.arrive_and_wait(); }

inline int __syncthreads_and(int value) {
  if (!value) ++emulated_false;
  __syncthreads();
  const int all = emulated_false == 0;
  __syncthreads();
  if (threadIdx.x == 0) emulated_false = 0;
  __syncthreads();
  return all;
}

// kernel<<<blocks, kEmulatedThreads>>>(…)
template <class Kernel>
void emulated_launch(unsigned blocks, const Kernel& kernel) {
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kEmulatedThreads; ++t)
    threads.emplace_back([&kernel, blocks, t] {
      threadIdx.x = t;
      for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        kernel();
        __syncthreads();
      }
    });
  for (std::thread& thread : threads) thread.join();
}
