#pragma once

#include <cstdint>
#include <functional>

namespace scalevec {

// Calls body(i) for i in [0, count) on LibTorch's threads, or here if the work is small or already parallel. The one
// place where our own loops become parallel: LibTorch's at::parallel_for is a serial loop in code compiled without
// OpenMP.
void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body);

// The same for bodies that call LibTorch: what they call runs on one thread, so that a product or a factorisation does
// not depend on the number of threads. Gradient recording is off in the body.
void run_tasks(std::int64_t count, const std::function<void(std::int64_t)>& body);

}  // namespace scalevec
