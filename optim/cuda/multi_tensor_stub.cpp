#include <stdexcept>

#include "optim/cuda/multi_tensor.hpp"

namespace scalevec::cuda {

struct MultiTensorStep::Tables {};

bool available() { return false; }
std::string why_unavailable() { return "built without CUDA: configure with -DSCALEVEC_CUDA=ON"; }

void launch_normals(float*, std::int64_t, std::uint64_t, std::uint64_t, Stream) {
  throw std::runtime_error(why_unavailable());
}
void launch_normals(double*, std::int64_t, std::uint64_t, std::uint64_t, Stream) {
  throw std::runtime_error(why_unavailable());
}

MultiTensorStep::MultiTensorStep(DeviceAllocator) { throw std::runtime_error(why_unavailable()); }
MultiTensorStep::~MultiTensorStep() = default;

// No object exists to call these on.
bool MultiTensorStep::prepare(std::span<const GroupOptions>, std::span<const TensorJob>, const StepLimits&, Stream) {
  return false;
}
void MultiTensorStep::launch_first(Stream) {}
void MultiTensorStep::launch_rest(bool, Stream) {}
const Status* MultiTensorStep::device_status() const { return nullptr; }
const GroupOptions* MultiTensorStep::device_groups() const { return nullptr; }
const StepSums* MultiTensorStep::device_sums() const { return nullptr; }
Status MultiTensorStep::status(Stream) const { return {}; }
std::vector<StepSums> MultiTensorStep::step_sums(Stream, std::int64_t) const { return {}; }

}  // namespace scalevec::cuda
