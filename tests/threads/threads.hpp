#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace scalevec::test {

// A parallel loop over std::thread: unlike OpenMP's runtime, ThreadSanitizer sees what it orders and what not.
inline void on_threads(int threads, std::int64_t count, const std::function<void(std::int64_t)>& body) {
  std::atomic<std::int64_t> next{0};
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t)
    pool.emplace_back([&] {
      for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i);
    });
  for (std::thread& thread : pool) thread.join();
}

}  // namespace scalevec::test
