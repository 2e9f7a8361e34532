#include <torch/types.h>

#include "experiments/distributed/backends.hpp"

namespace scalevec::experiments {

std::string gloo_missing() {
  return "this build has no Gloo; allowed: one process, or install libgloo-dev (scripts/bootstrap.sh does) and build "
         "again";
}

c10::intrusive_ptr<c10d::Backend> make_gloo(const c10::intrusive_ptr<c10d::Store>&, int, int, const std::string&,
                                            std::chrono::milliseconds) {
  return {};
}

}  // namespace scalevec::experiments
