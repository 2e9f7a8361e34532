#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace scalevec {

// A step's work on a device, recorded once and launched again as a whole (a CUDA graph): what a small model's step
// spends on launching its kernels one by one falls away.
class StepGraph {
 public:
  virtual ~StepGraph() = default;

  // Records what `work` enqueues and does not run it. `work` must have run before, so that whatever it keeps is
  // allocated, must wait for nothing, and must use the same addresses every time. What it throws comes through, and
  // nothing is recorded then.
  virtual void record(const std::function<void()>& work) = 0;
  virtual bool recorded() const = 0;

  // Enqueues the recorded work.
  virtual void replay() = 0;
};

// For a CUDA device, whose current stream on this thread becomes one that can be recorded: make it before the first
// work on the device. Null for other devices and in a build without CUDA.
std::unique_ptr<StepGraph> make_step_graph(c10::Device device);

}  // namespace scalevec
