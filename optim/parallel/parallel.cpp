#include "optim/parallel/parallel.hpp"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <cstdlib>

#if !defined(_OPENMP) && !defined(SCALEVEC_SERIAL)
#error "at::parallel_for is a serial loop in code compiled without OpenMP: compile this file with -fopenmp"
#endif

namespace scalevec {
namespace {

struct OneThread {
  const int before = at::get_num_threads();
  OneThread() { set(1); }
  ~OneThread() { set(before); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  void set(int threads) const {
    if (before != 1) at::set_num_threads(threads);
  }
};

}  // namespace

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  if (count < 3) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

void run_tasks(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    const at::NoGradGuard no_grad;
    for (std::int64_t i = begin; i < end; ++i) body(i);
  };
  if (at::in_parallel_region()) return run(0, count);
  // With one task there is no parallel region, in which LibTorch and MKL would keep to one thread by themselves.
  if (count == 1) {
    const OneThread guard;
    return run(0, 1);
  }
  at::parallel_for(0, count, 1, run);
}

void make_products_reproducible() {
#if defined(__x86_64__)
  if (__builtin_cpu_is("intel")) ::setenv("MKL_CBWR", "AUTO,STRICT", 0);
#endif
}

}  // namespace scalevec
