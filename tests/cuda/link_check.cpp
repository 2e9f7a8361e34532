#include <torch/types.h>

#include "scalevec/experiments/distributed/backends.hpp"
#include "scalevec/experiments/train/step_graph.hpp"
#include "scalevec/optim/cuda/cuda_step.hpp"

// Names what a CUDA build has and a CPU build has not, so that the linker has to find it.
int main() {
  const auto graph = scalevec::make_step_graph(torch::Device(torch::kCUDA, 0));
  scalevec::cuda::CudaStep step;
  step.update({}, {});
  const auto backend = scalevec::make_nccl({}, 0, 1, std::chrono::seconds(1));
  return graph && backend ? 0 : 1;
}
