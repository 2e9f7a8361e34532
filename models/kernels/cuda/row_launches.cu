#include "models/kernels/cuda/row_launches.cuh"

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace scalevec::models::kernels::cuda {
namespace {

class OnStream {
 public:
  explicit OnStream(Stream stream) : stream_(stream) {}

  template <class... P>
  void operator()(std::int64_t blocks, void (*kernel)(P...), const std::type_identity_t<P>&... arguments) const {
    if (blocks == 0) return;
    kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream_>>>(arguments...);
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess)
      throw std::runtime_error(std::string("CUDA: a fused operator: ") + cudaGetErrorString(error));
  }

 private:
  Stream stream_;
};

constexpr RowLaunches kLaunches = launches_on<OnStream>();

}  // namespace

const RowLaunches* row_launches() { return &kLaunches; }

}  // namespace scalevec::models::kernels::cuda
