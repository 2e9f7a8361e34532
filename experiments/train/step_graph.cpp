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

  void record(bool traced, const std::function<void()>& work) override {
    current_[traced] = nullptr;
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
    current_[traced] = graphs_.back().get();
  }

  bool recorded(bool traced) const override { return current_[traced] != nullptr; }
  void forget() override { current_[0] = current_[1] = nullptr; }
  void replay(bool traced) override { current_[traced]->replay(); }

 private:
  std::vector<std::unique_ptr<at::cuda::CUDAGraph>> graphs_;
  at::cuda::CUDAGraph* current_[2] = {};  // without and with traces
  // Of all of them, so that another recording takes no more memory.
  const at::cuda::MempoolId_t pool_ = at::cuda::graph_pool_handle();
};

}  // namespace

std::unique_ptr<StepGraph> make_step_graph(c10::Device device) {
  return device.is_cuda() ? std::make_unique<CudaStepGraph>(device) : nullptr;
}
#else
std::unique_ptr<StepGraph> make_step_graph(c10::Device) { return nullptr; }
#endif

}  // namespace scalevec::experiments
