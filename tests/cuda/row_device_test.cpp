#include <cuda_runtime_api.h>

#include <cstdio>

#include "optim/cuda/multi_tensor.hpp"
#include "tests/cuda/row_op_checks.hpp"

// The fused operators' kernels on a GPU, against the plain loops that the emulated ones are held against.
namespace {

using namespace scalevec::cuda_test;

// Null without a GPU. CTest shows the whole binary as skipped when it reads the line.
const Backend* device() {
  if (!scalevec::cuda::available()) {
    std::printf("SKIPPED: %s\n", scalevec::cuda::why_unavailable().c_str());
    return nullptr;
  }
  static const Backend backend{scalevec::models::kernels::cuda::row_launches(),
                               [](std::size_t size) {
                                 void* memory = nullptr;
                                 REQUIRE(cudaMalloc(&memory, size) == cudaSuccess);
                                 return std::shared_ptr<void>(memory, cudaFree);
                               },
                               [](void* to, const void* from, std::size_t size) {
                                 const cudaError_t error = cudaMemcpy(to, from, size, cudaMemcpyDefault);
                                 INFO(cudaGetErrorString(error));
                                 REQUIRE(error == cudaSuccess);
                               }};
  return &backend;
}

template <class Check>
void on_device(const Check& check) {
  if (const Backend* backend = device()) check(*backend);
}

}  // namespace

TEST_CASE("on the GPU the norm's kernel is the formula") { on_device(check_norm); }
TEST_CASE("on the GPU the norm of a sum is the formula, of the stored sum") { on_device(check_norm_of_sum); }
TEST_CASE("on the GPU the norm's gradients are the formula's") { on_device(check_norm_backward); }
TEST_CASE("on the GPU the radial scale and its gradients are the formula's") { on_device(check_radial); }
TEST_CASE("on the GPU SwiGLU, plain and normed, and its gradients are the formula's") { on_device(check_swiglu); }
TEST_CASE("on the GPU RoPE, with and without a norm, and its gradients are the formula's") { on_device(check_rotate); }
TEST_CASE("on the GPU cross-entropy and its gradient are the formula's") { on_device(check_cross_entropy); }
TEST_CASE("on the GPU a scaled matrix and its gradients are the formula's") { on_device(check_scaled_matrix); }
