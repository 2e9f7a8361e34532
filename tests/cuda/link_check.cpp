#include <torch/types.h>

#include "experiments/distributed/backends.hpp"
#include "experiments/train/step_graph.hpp"
#include "optim/cuda/cuda_step.hpp"

using namespace scalevec::experiments;

// Names what a CUDA build has and a CPU build has not, so that the linker has to find it.
int main() {
  const auto graph = scalevec::experiments::make_step_graph(torch::Device(torch::kCUDA, 0));
  scalevec::cuda::CudaStep step;
  step.update({}, {});
  const auto backend = scalevec::experiments::make_nccl({}, 0, 1, std::chrono::seconds(1));
  return graph && backend ? 0 : 1;
}
