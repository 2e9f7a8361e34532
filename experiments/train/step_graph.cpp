#include "experiments/train/step_graph.hpp"

#if defined(SCALEVEC_CUDA)
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
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
    c10::cuda::device_synchronize();
    graph_ = std::make_unique<at::cuda::CUDAGraph>();
    graph_->capture_begin();
    try {
      work();
    } catch (...) {
      // A capture has to be ended on every way out; its own complaint would hide the reason.
      try {
        graph_->capture_end();
      } catch (const std::exception&) {
      }
      graph_.reset();
      throw;
    }
    graph_->capture_end();
  }

  bool recorded() const override { return graph_ != nullptr; }
  void replay() override { graph_->replay(); }

 private:
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
};

}  // namespace

std::unique_ptr<StepGraph> make_step_graph(c10::Device device) {
  return device.is_cuda() ? std::make_unique<CudaStepGraph>(device) : nullptr;
}
#else
std::unique_ptr<StepGraph> make_step_graph(c10::Device) { return nullptr; }
#endif

}  // namespace scalevec::experiments
