#include "optim/parallel/parallel.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

using namespace scalevec;

using Loop = void (*)(std::int64_t, const std::function<void(std::int64_t)>&);

std::size_t threads_used(Loop loop, std::int64_t count) {
  std::mutex guard;
  std::set<std::thread::id> seen;
  loop(count, [&](std::int64_t) {
    const std::lock_guard lock(guard);
    seen.insert(std::this_thread::get_id());
  });
  return seen.size();
}

}  // namespace

TEST_CASE("our loops run on as many threads as LibTorch was told to use, and call every index once") {
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3})
    for (const Loop loop : {parallel_for, run_tasks}) {
      INFO(threads << " threads");
      at::set_num_threads(threads);
      CHECK(threads_used(loop, 60) == static_cast<std::size_t>(threads));
      std::vector<int> calls(61, 0);
      loop(60, [&](std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; });
      CHECK(std::count(calls.begin(), calls.end() - 1, 1) == 60);
      CHECK(calls.back() == 0);
      CHECK(threads_used(loop, 1) == 1);
      CHECK(threads_used(loop, 0) == 0);
    }
  at::set_num_threads(before);
}

TEST_CASE("inside a parallel region the tasks stay on the thread that asks") {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  std::vector<std::size_t> used(8, 0);
  parallel_for(8, [&](std::int64_t i) { used[static_cast<std::size_t>(i)] = threads_used(run_tasks, 16); });
  CHECK(std::count(used.begin(), used.end(), std::size_t{1}) == 8);
  at::set_num_threads(before);
}
