#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "optim/optimizer.hpp"
#include "optim/step_shard.hpp"

namespace scalevec {

// What the machinery around an optimizer asks of it, beside what a training loop does: division over processes, graphs
// of a device, and devices that a test emulates.
class StepHooks {
 public:
  explicit StepHooks(Optimizer& optimizer) : optimizer_(optimizer) {}

  // From now on this process updates the parameters that it owns and keeps their state only; norm, clip factor, the
  // check of gradients and traces are of all parameters, as one process has them. A parameter must have a gradient on
  // every process or on none. Set it before the first step. named_state() then is this process's part, and
  // load_named_state() takes the whole and keeps that part.
  void set_shard(std::shared_ptr<StepShard> shard) { optimizer_.shard_ = std::move(shard); }

  // Who steps the parameters that it handles, in place of the CUDA kernels.
  void set_device_step(std::shared_ptr<cuda::DeviceStep> device) { optimizer_.device_ = std::move(device); }

  // Who does, or null before the first step on a device.
  const std::shared_ptr<cuda::DeviceStep>& device_step() const { return optimizer_.device_; }

  // Whether the last step was made on a CUDA device alone, so that it can be captured in a CUDA graph.
  bool steps_on_device() const { return optimizer_.norm_on_device_; }
  // For a captured step: brings the options and the clip norm of the moment to the device, whose next replay then takes
  // them. Gradients must be where they were. Returns whether what was captured still is the step; false asks for
  // another capture. `traced`: the replay is of a step with traces. std::logic_error unless steps_on_device().
  bool update_device(bool traced = false) { return optimizer_.update_device(traced); }
  // A captured step is replayed after update_device(traced).
  void note_replay(bool traced) { optimizer_.note_replay(traced); }
  // Whether the next step does on the device what most steps do, so that a captured one can stand for it. A method may
  // do more at some steps.
  bool next_is_ordinary() const { return optimizer_.next_is_ordinary(); }
  // While `on`, step() is captured and not made.
  void set_recording(bool on) { optimizer_.recording_ = on; }

  // With `on`, a traced step that is made on a device alone does not wait for its sums; take_traces() does, and returns
  // the steps traced since the last call in their order. traces() are not set then.
  void defer_traces(bool on) { optimizer_.defers_traces_ = on; }
  std::vector<TracedStep> take_traces() { return optimizer_.take_traces(); }

 private:
  Optimizer& optimizer_;
};

}  // namespace scalevec
