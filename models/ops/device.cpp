#include "models/ops/device.hpp"

#include <ATen/autocast_mode.h>
#include <c10/core/DeviceGuard.h>

#if defined(SCALEVEC_CUDA)
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace scalevec::models::ops::device {
namespace {

const kernels::cuda::RowLaunches* emulated = nullptr;

// Autocast is set for a type of device, and meta has none of its own.
torch::DeviceType autocast_device(const torch::Tensor& x) { return x.is_meta() ? torch::kCUDA : x.device().type(); }

}  // namespace

bool takes(const torch::Tensor& x) {
  if (x.scalar_type() != torch::kFloat32 && x.scalar_type() != torch::kBFloat16) return false;
  return x.is_meta() || (x.is_cuda() && kernels::cuda::row_launches()) || (x.device().is_cpu() && emulated);
}

Emulated::Emulated(const kernels::cuda::RowLaunches& launches) { emulated = &launches; }
Emulated::~Emulated() { emulated = nullptr; }

bool in_autocast(const torch::Tensor& x) { return at::autocast::is_autocast_enabled(autocast_device(x)); }

torch::ScalarType product_type(const torch::Tensor& x) {
  return in_autocast(x) ? at::autocast::get_autocast_dtype(autocast_device(x)) : x.scalar_type();
}

int compute_capability(const torch::Tensor& x) {
#if defined(SCALEVEC_CUDA)
  if (x.is_cuda()) {
    const cudaDeviceProp* properties = at::cuda::getDeviceProperties(x.device().index());
    return 10 * properties->major + properties->minor;
  }
#endif
  (void)x;
  return 0;
}

void enqueue(const torch::Tensor& x,
             c10::function_ref<void(const kernels::cuda::RowLaunches&, kernels::cuda::Stream)> body) {
  if (x.is_meta()) return;
  if (!x.is_cuda()) return body(*emulated, nullptr);
#if defined(SCALEVEC_CUDA)
  const c10::DeviceGuard guard(x.device());
  body(*kernels::cuda::row_launches(), c10::cuda::getCurrentCUDAStream(x.device().index()).stream());
#endif
}

}  // namespace scalevec::models::ops::device
