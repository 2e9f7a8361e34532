#include <torch/types.h>

#include "experiments/distributed/backends.hpp"

namespace scalevec::experiments {

std::string nccl_missing() {
  return "this build has no NCCL; allowed: device cpu, or a build with -DSCALEVEC_CUDA=ON where nccl.h is";
}

c10::intrusive_ptr<c10d::Backend> make_nccl(const c10::intrusive_ptr<c10d::Store>&, int, int,
                                            std::chrono::milliseconds) {
  return {};
}

}  // namespace scalevec::experiments
