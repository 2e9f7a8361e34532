#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace scalevec::experiments {

// The work of a step on a device, recorded once and launched again as a whole (a CUDA graph). This saves the time that
// a step of a small model needs to launch its kernels one by one. There are two: of a step without and with traces.
class StepGraph {
 public:
  virtual ~StepGraph() = default;

  // Records what `work` enqueues, without running it, in place of what was recorded before. `work` must have run
  // before, so that the memory it keeps is allocated. It must not wait for the device and must use the same addresses
  // every time. If it throws or cannot be recorded, the exception is passed on and nothing is recorded.
  virtual void record(bool traced, const std::function<void()>& work) = 0;
  virtual bool recorded(bool traced) const = 0;
  // What was recorded is no longer the step.
  virtual void forget() = 0;

  // Enqueues the recorded work.
  virtual void replay(bool traced) = 0;
};

// A graph for a CUDA device. The current stream of this thread becomes one that can be recorded, so call this before
// the first work on the device. Null for other devices and in a build without CUDA.
std::unique_ptr<StepGraph> make_step_graph(c10::Device device);

}  // namespace scalevec::experiments
