#pragma once

#include "tests/cuda/emulated_device.hpp"
// After the language it is written in.
#include "models/kernels/cuda/row_launches.cuh"

// The fused operators' kernels on the emulated device.
namespace scalevec::cuda_test {

class EmulatedLauncher {
 public:
  explicit EmulatedLauncher(models::kernels::cuda::Stream) {}

  template <class... P>
  void operator()(std::int64_t blocks, void (*kernel)(P...), const std::type_identity_t<P>&... arguments) const {
    emulated_launch(static_cast<unsigned>(blocks), [&] { kernel(arguments...); });
  }
};

inline constexpr models::kernels::cuda::RowLaunches kEmulatedRows =
    models::kernels::cuda::launches_on<EmulatedLauncher>();

static_assert(models::kernels::cuda::kThreads == kEmulatedThreads && models::kernels::cuda::kWarp == kEmulatedWarp);

}  // namespace scalevec::cuda_test
