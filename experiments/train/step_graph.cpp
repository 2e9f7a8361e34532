#include "experiments/train/step_graph.hpp"

#if defined(SCALEVEC_CUDA)
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <exception>
#include <vector>
#endif

namespace scalevec::experiments {

#if defined(SCALEVEC_CUDA)
namespace {

class CudaStepGraph : public StepGraph {
 public:
  // The default stream cannot be recorded, and autograd adds gradients up on the stream that was current when it first
  // saw the parameter: so one stream of our own for everything.
  explicit CudaStepGraph(c10::Device device) {
    const c10::cuda::CUDAGuard guard(device);
    c10::cuda::setCurrentCUDAStream(
        c10::cuda::getStreamFromPool(/*isHighPriority=*/false, guard.current_device().index()));
  }

  void record(const std::function<void()>& work) override {
    recorded_ = false;
    c10::cuda::device_synchronize();
    // A graph has memory of its own: what the steps before it took would stay beside it in the allocator's cache.
    c10::cuda::CUDACachingAllocator::emptyCache();
    // Also of a failed recording: tensors that live on may lie in its memory.
    graphs_.push_back(std::make_unique<at::cuda::CUDAGraph>());
    std::exception_ptr failed;
    graphs_.back()->capture_begin(pool_);
    try {
      work();
    } catch (...) {
      failed = std::current_exception();
    }
    // A capture has to be ended on every way out; its own complaint would hide the reason.
    try {
      graphs_.back()->capture_end();
    } catch (...) {
      if (!failed) failed = std::current_exception();
      try {
        c10::cuda::CUDACachingAllocator::endAllocateToPool(c10::cuda::current_device(), pool_);
      } catch (const std::exception&) {  // it has ended
      }
      cudaGetLastError();
    }
    if (failed) std::rethrow_exception(failed);
    recorded_ = true;
  }

  bool recorded() const override { return recorded_; }
  void replay() override { graphs_.back()->replay(); }

 private:
  std::vector<std::unique_ptr<at::cuda::CUDAGraph>> graphs_;  // the last is replayed
  // Of all of them, so that another recording takes no more memory.
  const at::cuda::MempoolId_t pool_ = at::cuda::graph_pool_handle();
  bool recorded_ = false;
};

}  // namespace

std::unique_ptr<StepGraph> make_step_graph(c10::Device device) {
  return device.is_cuda() ? std::make_unique<CudaStepGraph>(device) : nullptr;
}
#else
std::unique_ptr<StepGraph> make_step_graph(c10::Device) { return nullptr; }
#endif

}  // namespace scalevec::experiments
