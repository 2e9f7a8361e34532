#pragma once

// Marks functions that CPU kernels, CUDA kernels and simulations share.
#if defined(__CUDACC__)
#define SCALEVEC_HD __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define SCALEVEC_HD inline __attribute__((always_inline))
#else
#define SCALEVEC_HD inline
#endif
