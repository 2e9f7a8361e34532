#include "tests/cuda/emulated_rows.hpp"

#include <cstdlib>

#include "tests/cuda/row_op_checks.hpp"

// The source of the fused operators' kernels, run by threads of the host, against plain loops in double precision.
namespace {

using namespace scalevec::cuda_test;

const Backend& host() {
  static const Backend backend{
      &kEmulatedRows,
      [](std::size_t size) { return std::shared_ptr<void>(std::aligned_alloc(64, (size + 63) / 64 * 64), std::free); },
      [](void* to, const void* from, std::size_t size) { std::memcpy(to, from, size); }};
  return backend;
}

}  // namespace

TEST_CASE("the norm's kernel is the formula") { check_norm(host()); }
TEST_CASE("the norm of a sum is the formula, of the stored sum") { check_norm_of_sum(host()); }
TEST_CASE("the norm's gradients are the formula's") { check_norm_backward(host()); }
TEST_CASE("the radial scale and its gradients are the formula's") { check_radial(host()); }
TEST_CASE("SwiGLU, plain and normed, and its gradients are the formula's") { check_swiglu(host()); }
TEST_CASE("RoPE, with and without a norm, and its gradients are the formula's") { check_rotate(host()); }
TEST_CASE("cross-entropy and its gradient are the formula's") { check_cross_entropy(host()); }
TEST_CASE("a scaled matrix and its gradients are the formula's") { check_scaled_matrix(host()); }
