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

// On an Intel CPU, has MKL (LibTorch's products) round in the same way on any number of threads and at any place in
// memory: MKL_CBWR=AUTO,STRICT, unless the environment has the variable. Without it, Muon's and Scion's steps in
// float32 differ there by rounding with the number of threads. Call it before LibTorch's first product. Other CPUs:
// does nothing.
void make_products_reproducible();

}  // namespace scalevec
