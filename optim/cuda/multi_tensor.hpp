#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "optim/core/traces.hpp"
#include "optim/cuda/constants.hpp"
#include "optim/kernels/elementwise.hpp"

struct CUstream_st;

// The elementwise optimizer step on a CUDA device, over many tensors at once. No LibTorch here: raw device pointers. A
// build without CUDA has the same functions: available() is false and constructing MultiTensorStep throws.
namespace scalevec::cuda {

using Stream = CUstream_st*;  // cudaStream_t; null is the default stream

bool available();
std::string why_unavailable();  // one line; empty if available

// One tensor. All pointers are to device memory; `param` and `grad` have `dtype`, the states are float64 for float64
// and float32 otherwise.
struct TensorJob {
  kernels::Dtype dtype = kernels::Dtype::float32;
  std::int32_t group = 0;  // index of its options
  void* param = nullptr;
  const void* grad = nullptr;
  void* state[kMaxBuffers] = {};  // those that the options ask for, each in its place
  std::int64_t* step = nullptr;   // steps made so far, counted by the device
  std::int64_t size = 0;
  kernels::Rounding rounding = kernels::Rounding::nearest;  // of types of 16 bits, as kernels::Store
  std::int16_t* low = nullptr;
  std::uint64_t stream = 0;
  // Of a group that modifies the step: parts with sums of their own, and the norm to hold of each, in the state's type.
  std::int64_t parts = 1;
  void* held_norm = nullptr;
  double* numbers = nullptr;  // those that the method keeps of it
};

struct StepLimits {
  double max_norm = 0.0;     // 0: no clipping
  bool check_finite = true;  // a gradient that is not finite makes the whole step a no-op, step counts included
  double clip_factor = 1.0;  // used where max_norm is 0: what members of the clip norm are multiplied by

  bool operator==(const StepLimits&) const = default;
};

// Enqueues random_normal(seed, stream, i) for `count` elements.
void launch_normals(float* out, std::int64_t count, std::uint64_t seed, std::uint64_t stream, Stream on);
void launch_normals(double* out, std::int64_t count, std::uint64_t seed, std::uint64_t stream, Stream on);

// How many launches' sums the device keeps.
inline constexpr std::int64_t kSumsKept = 64;

// Of the last launch.
struct Status {
  double grad_norm = kNoTrace;  // over the members of the clip norm, before clipping; NaN if the step did not need it
  double clip_factor = 1.0;
  std::int64_t bad_tensor = -1;    // first job whose gradient is not finite; -1: none, or not checked
  std::int64_t refused_steps = 0;  // no-ops since construction
  std::int64_t launches = 0;       // since construction, refused ones included
};

// Where the tables' memory comes from. Both are called on the device that was current when the step was made.
struct DeviceAllocator {
  void* (*allocate)(std::size_t bytes) = nullptr;  // throws if there is none; null: cudaMalloc
  void (*release)(void* data) = nullptr;           // null: cudaFree
};

// Two calls make a step. prepare() brings the tables on the device up to date: it uploads what differs from the last
// call, as kernel arguments, and waits for nothing. launch() enqueues the kernels, whose arguments are the tables'
// addresses: it can be captured in a CUDA graph, and after prepare() with another lr the replayed graph uses it. A
// captured launch holds while prepare() is given tensors of the same sizes, and either always or never limits that need
// norms, and as many groups, of the same rules. Memory that tables grew out of stays until the end, so that a graph
// recorded before never writes to memory of others.
class MultiTensorStep {
 public:
  // On the current device; throws std::runtime_error with why_unavailable().
  explicit MultiTensorStep(DeviceAllocator allocator = {});
  ~MultiTensorStep();
  MultiTensorStep(const MultiTensorStep&) = delete;
  MultiTensorStep& operator=(const MultiTensorStep&) = delete;

  // Throws std::invalid_argument for a job without its group, and std::logic_error when a capturing stream would have
  // to upload options: the captured upload would undo every later change of lr. Returns whether a launch captured
  // since the last call that returned false still holds.
  bool prepare(std::span<const GroupOptions> groups, std::span<const TensorJob> jobs, const StepLimits& limits,
               Stream stream);

  // With `sums`, also accumulates every job's StepSums. Where jobs have a first pass (is_first_pass()), what their
  // updates are formed by is enqueued between the two parts.
  void launch(bool sums, Stream stream) {
    launch_first(stream);
    launch_rest(sums, stream);
  }
  void launch_first(Stream stream);
  void launch_rest(bool sums, Stream stream);

  // On the device; bad_tensor is of the last launch_first(), and the groups are those of the last
  // prepare(). Null before the first.
  const Status* device_status() const;
  const GroupOptions* device_groups() const;
  // The sums of the last kSumsKept launches, kSumsKept times one per job; `launches` of the status says which is where.
  const StepSums* device_sums() const;

  // These wait for the stream, which is that of the last launch. step_sums() has one entry per job, of the launch
  // `ago` launches before, below kSumsKept, which had sums and as many jobs; zero if it was refused.
  Status status(Stream stream) const;
  std::vector<StepSums> step_sums(Stream stream, std::int64_t ago = 0) const;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace scalevec::cuda
