#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "optim/cuda/step_kernels.cuh"

namespace scalevec::cuda {
namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(error));
}

bool capturing(Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

// Data that travels as a kernel argument: no host memory that must outlive the call and no wait. Within the 4 KB that
// every toolkit allows for arguments.
struct Piece {
  static constexpr std::size_t kBytes = 3584;
  unsigned char bytes[kBytes];
};

__global__ void upload_kernel(unsigned char* to, Piece piece, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) to[i] = piece.bytes[i];
}

void send(void* to, const void* from, std::size_t bytes, Stream stream) {
  Piece piece;
  std::memcpy(piece.bytes, from, bytes);
  upload_kernel<<<1, kThreads, 0, stream>>>(static_cast<unsigned char*>(to), piece, static_cast<int>(bytes));
  check(cudaGetLastError(), "upload");
}

void* plain_allocate(std::size_t bytes) {
  void* data = nullptr;
  check(cudaMalloc(&data, bytes), "cudaMalloc");
  return data;
}

void plain_release(void* data) { cudaFree(data); }

// Device memory that only grows. Its content is lost when it does; a recorded graph may still point to the old place.
class DeviceMemory {
 public:
  explicit DeviceMemory(const DeviceAllocator& allocator) : allocator_(allocator) {}
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory() {
    for (void* data : all_) allocator_.release(data);
  }

  // Whether it grew.
  bool reserve(std::size_t bytes) {
    if (bytes <= capacity_) return false;
    const std::size_t grown = std::max(bytes, 2 * capacity_);
    all_.reserve(all_.size() + 1);
    all_.push_back(allocator_.allocate(grown));
    capacity_ = grown;
    return true;
  }

  template <class T>
  T* as() const {
    return all_.empty() ? nullptr : static_cast<T*>(all_.back());
  }

 private:
  const DeviceAllocator& allocator_;
  std::vector<void*> all_;
  std::size_t capacity_ = 0;
};

// A table on the device and what it holds, so that only pieces that differ are sent.
template <class T>
class Table {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit Table(const DeviceAllocator& allocator) : memory_(allocator) {}

  bool differs(const std::vector<T>& values) const { return values != known_; }

  // Whether it grew.
  bool reserve(std::size_t count) {
    if (!memory_.reserve(count * sizeof(T))) return false;
    known_.clear();
    return true;
  }

  void upload(const std::vector<T>& values, bool in_capture, Stream stream) {
    constexpr std::size_t kPerPiece = Piece::kBytes / sizeof(T);
    for (std::size_t at = 0; at < values.size(); at += kPerPiece) {
      const std::size_t count = std::min(values.size() - at, kPerPiece);
      if (at + count <= known_.size() && std::equal(&values[at], &values[at] + count, &known_[at])) continue;
      send(data() + at, &values[at], count * sizeof(T), stream);
      replayed_ = replayed_ || in_capture;
    }
    // Every replay of a captured upload writes the table again, so that what it holds is no longer known.
    known_ = replayed_ ? std::vector<T>{} : values;
  }

  T* data() const { return memory_.as<T>(); }

 private:
  DeviceMemory memory_;
  std::vector<T> known_;
  bool replayed_ = false;
};

}  // namespace

struct MultiTensorStep::Tables {
  explicit Tables(const DeviceAllocator& given)
      : allocator{given.allocate ? given.allocate : &plain_allocate, given.release ? given.release : &plain_release} {}

  const DeviceAllocator allocator;
  Table<GroupOptions> groups{allocator};
  Table<TensorRow> rows{allocator};
  Table<const void*> grads{allocator};
  Table<std::int64_t> first_unit{allocator};
  Table<StepLimits> limits{allocator};
  DeviceMemory unit_norms{allocator}, unit_finite{allocator}, tensor_norms{allocator}, tensor_finite{allocator},
      constants{allocator}, unit_sums{allocator}, scales{allocator}, tensor_sums{allocator}, status{allocator};
  std::int64_t tensors = 0, units = 0;
  bool norms = false;
  std::vector<GroupOptions> used;  // by the last prepare()

  View view() const {
    return {tensors,
            groups.data(),
            rows.data(),
            grads.data(),
            first_unit.data(),
            limits.data(),
            unit_norms.as<double>(),
            unit_finite.as<int>(),
            tensor_norms.as<double>(),
            tensor_finite.as<int>(),
            constants.as<Constants>(),
            unit_sums.as<double>(),
            scales.as<kernels::StepScales>(),
            tensor_sums.as<StepSums>(),
            status.as<Status>()};
  }
};

bool available() { return why_unavailable().empty(); }

std::string why_unavailable() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return std::string("no CUDA device: ") + cudaGetErrorString(error);
  return count > 0 ? "" : "no CUDA device";
}

namespace {
template <class T>
void launch_normals_of(T* out, std::int64_t count, std::uint64_t seed, std::uint64_t stream, Stream on) {
  if (count == 0) return;
  normals_kernel<<<static_cast<unsigned>((count + kPass - 1) / kPass), kThreads, 0, on>>>(out, count, seed, stream);
  check(cudaGetLastError(), "normals");
}
}  // namespace

void launch_normals(float* out, std::int64_t count, std::uint64_t seed, std::uint64_t stream, Stream on) {
  launch_normals_of(out, count, seed, stream, on);
}
void launch_normals(double* out, std::int64_t count, std::uint64_t seed, std::uint64_t stream, Stream on) {
  launch_normals_of(out, count, seed, stream, on);
}

MultiTensorStep::MultiTensorStep(DeviceAllocator allocator) {
  if (const std::string why = why_unavailable(); !why.empty()) throw std::runtime_error(why);
  tables_ = std::make_unique<Tables>(allocator);
}

MultiTensorStep::~MultiTensorStep() = default;

bool MultiTensorStep::prepare(std::span<const GroupOptions> groups, std::span<const TensorJob> jobs,
                              const StepLimits& limits, Stream stream) {
  Tables& t = *tables_;
  std::vector<TensorRow> rows(jobs.size());
  std::vector<const void*> grads(jobs.size());
  std::vector<std::int64_t> sizes(jobs.size()), parts(jobs.size());
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    const TensorJob& job = jobs[j];
    if (job.group < 0 || static_cast<std::size_t>(job.group) >= groups.size())
      throw std::invalid_argument("job " + std::to_string(j) + ": group " + std::to_string(job.group) +
                                  "; allowed: 0 to " + std::to_string(static_cast<std::int64_t>(groups.size()) - 1));
    rows[j] = row_of(job);
    grads[j] = job.grad;
    sizes[j] = job.size;
    parts[j] = job.parts;
  }
  const std::vector<GroupOptions> options(groups.begin(), groups.end());
  const std::vector<StepLimits> limit{limits};
  const std::vector<std::int64_t> first = first_units(sizes, parts);
  const bool in_capture = capturing(stream);
  if (in_capture && (t.groups.differs(options) || t.limits.differs(limit) || t.first_unit.differs(first)))
    throw std::logic_error(
        "options or sizes have changed since the last step: make one step before the capture begins");
  const bool norms = limits.check_finite || limits.max_norm > 0.0;
  const auto rules = [](const std::vector<GroupOptions>& of) {
    std::set<std::pair<std::int32_t, bool>> out;
    for (const GroupOptions& group : of) out.insert({group.rule, group.modified()});
    return out;
  };
  bool holds = !t.first_unit.differs(first) && t.norms == norms && t.used.size() == options.size() &&
               rules(t.used) == rules(options);
  const auto grow = [&](bool grew) { holds = holds && !grew; };
  t.tensors = static_cast<std::int64_t>(jobs.size());
  t.units = first.back();
  t.used = options;
  t.norms = norms;
  const auto tensors = jobs.size();
  const auto units = static_cast<std::size_t>(t.units);
  if (t.status.reserve(sizeof(Status))) {
    grow(true);
    const Status none;
    send(t.status.as<Status>(), &none, sizeof(Status), stream);
  }
  grow(t.unit_norms.reserve(units * sizeof(double)));
  grow(t.unit_finite.reserve(units * sizeof(int)));
  grow(t.tensor_norms.reserve(tensors * sizeof(double)));
  grow(t.tensor_finite.reserve(tensors * sizeof(int)));
  grow(t.constants.reserve(tensors * sizeof(Constants)));
  grow(t.unit_sums.reserve(units * kSumCount * sizeof(double)));
  if (std::any_of(options.begin(), options.end(), [](const GroupOptions& group) { return group.modified(); }))
    grow(t.scales.reserve(units * sizeof(kernels::StepScales)));
  grow(t.tensor_sums.reserve(static_cast<std::size_t>(kSumsKept) * tensors * sizeof(StepSums)));
  grow(t.groups.reserve(options.size()));
  grow(t.rows.reserve(rows.size()));
  grow(t.grads.reserve(grads.size()));
  grow(t.first_unit.reserve(first.size()));
  grow(t.limits.reserve(1));
  t.groups.upload(options, in_capture, stream);
  t.rows.upload(rows, in_capture, stream);
  t.grads.upload(grads, in_capture, stream);
  t.first_unit.upload(first, in_capture, stream);
  t.limits.upload(limit, in_capture, stream);
  return holds;
}

void MultiTensorStep::launch_first(Stream stream) {
  const Tables& t = *tables_;
  if (t.tensors == 0) return;
  const View view = t.view();
  const auto units = static_cast<unsigned>(t.units);
  const auto tensors = static_cast<unsigned>(t.tensors);
  if (t.norms && units > 0) norm_kernel<<<units, kThreads, 0, stream>>>(view);
  if (t.norms) tensor_norm_kernel<<<tensors, kThreads, 0, stream>>>(view);
  setup_kernel<<<1, kThreads, 0, stream>>>(view, t.norms);
  if (units > 0) {
    for (const StepKernel kernel : step_kernels(t.used, Phase::first, false))
      kernel<<<units, kThreads, 0, stream>>>(view);
  }
  check(cudaGetLastError(), "step");
}

void MultiTensorStep::launch_rest(bool sums, Stream stream) {
  const Tables& t = *tables_;
  if (t.tensors == 0) return;
  const View view = t.view();
  const auto units = static_cast<unsigned>(t.units);
  const auto tensors = static_cast<unsigned>(t.tensors);
  if (units > 0) {
    for (const StepKernel kernel : step_kernels(t.used, Phase::before, false))
      kernel<<<units, kThreads, 0, stream>>>(view);
    if (std::any_of(t.used.begin(), t.used.end(), [](const GroupOptions& group) { return measures(group.rule); })) {
      pass_sums_kernel<<<tensors, kThreads, 0, stream>>>(view);
      advance_kernel<<<static_cast<unsigned>(t.used.size()), kThreads, 0, stream>>>(view);
    }
    for (const StepKernel kernel : step_kernels(t.used, Phase::measure, false))
      kernel<<<units, kThreads, 0, stream>>>(view);
    if (t.scales.as<kernels::StepScales>()) scales_kernel<<<tensors, kThreads, 0, stream>>>(view);
    for (const StepKernel kernel : step_kernels(t.used, Phase::step, sums))
      kernel<<<units, kThreads, 0, stream>>>(view);
  }
  if (sums) tensor_sums_kernel<<<tensors, kThreads, 0, stream>>>(view);
  check(cudaGetLastError(), "step");
}

const Status* MultiTensorStep::device_status() const { return tables_->status.as<Status>(); }
const GroupOptions* MultiTensorStep::device_groups() const { return tables_->groups.data(); }
const StepSums* MultiTensorStep::device_sums() const { return tables_->tensor_sums.as<StepSums>(); }

Status MultiTensorStep::status(Stream stream) const {
  Status status;
  if (!tables_->status.as<Status>()) return status;
  check(cudaMemcpyAsync(&status, tables_->status.as<Status>(), sizeof(Status), cudaMemcpyDeviceToHost, stream),
        "status");
  check(cudaStreamSynchronize(stream), "status");
  return status;
}

std::vector<StepSums> MultiTensorStep::step_sums(Stream stream, std::int64_t ago) const {
  std::vector<StepSums> sums(static_cast<std::size_t>(tables_->tensors));
  if (sums.empty()) return sums;
  const StepSums* from =
      tables_->tensor_sums.as<StepSums>() + sums_slot(status(stream).launches, ago) * tables_->tensors;
  check(cudaMemcpyAsync(sums.data(), from, sums.size() * sizeof(StepSums), cudaMemcpyDeviceToHost, stream),
        "step_sums");
  check(cudaStreamSynchronize(stream), "step_sums");
  return sums;
}

}  // namespace scalevec::cuda
