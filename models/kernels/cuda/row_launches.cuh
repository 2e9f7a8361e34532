#pragma once

#include "models/kernels/cuda/loss_kernels.cuh"
#include "models/kernels/cuda/matrix_kernels.cuh"
#include "models/kernels/cuda/norm_kernels.cuh"
#include "models/kernels/cuda/rotate_kernels.cuh"
#include "models/kernels/cuda/swiglu_kernels.cuh"

namespace scalevec::models::kernels::cuda {

// Launches on what `Launcher(stream)` launches on: launcher(blocks, kernel, arguments…) runs the kernel in blocks of
// kThreads threads.
template <class Launcher>
constexpr RowLaunches launches_on() {
  return {
      [](const NormForward& a, Stream stream) { launch_norm(a, Launcher(stream)); },
      [](const NormBackward& a, Stream stream) { launch_norm_backward(a, Launcher(stream)); },
      [](const RadialForward& a, Stream stream) { launch_radial(a, Launcher(stream)); },
      [](const RadialBackward& a, Stream stream) { launch_radial_backward(a, Launcher(stream)); },
      [](const SwigluForward& a, Stream stream) { launch_swiglu(a, Launcher(stream)); },
      [](const SwigluBackward& a, Stream stream) { launch_swiglu_backward(a, Launcher(stream)); },
      [](const RotateForward& a, Stream stream) { launch_rotate(a, Launcher(stream)); },
      [](const RotateBackward& a, Stream stream) { launch_rotate_backward(a, Launcher(stream)); },
      [](const CrossEntropyForward& a, Stream stream) { launch_cross_entropy(a, Launcher(stream)); },
      [](const CrossEntropyBackward& a, Stream stream) { launch_cross_entropy_backward(a, Launcher(stream)); },
      [](const ScaleMatrix& a, Stream stream) { launch_scale_matrix(a, Launcher(stream)); },
      [](const ScaleMatrixBackward& a, Stream stream) { launch_scale_matrix_backward(a, Launcher(stream)); },
  };
}

}  // namespace scalevec::models::kernels::cuda
