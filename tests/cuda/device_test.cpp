#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include "optim/core/random.hpp"
#include "optim/cuda/multi_tensor.hpp"
#include "tests/cuda/reference.hpp"
#include "tests/support/catch.hpp"

// The kernels on a GPU against a double-precision reference that shares no code with them.
namespace {

using namespace scalevec;
using namespace scalevec::cuda;
using namespace scalevec::cuda_test;

// CTest shows the whole binary as skipped when it reads this line.
bool skipped() {
  if (available()) return false;
  std::printf("SKIPPED: %s\n", why_unavailable().c_str());
  return true;
}

void require(cudaError_t error) {
  INFO(cudaGetErrorString(error));
  REQUIRE(error == cudaSuccess);
}

template <class T>
class Buffer {
 public:
  explicit Buffer(const std::vector<T>& values) : size_(values.size()) {
    require(cudaMalloc(&data_, size_ * sizeof(T) + 1));
    set(values);
  }
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  ~Buffer() { cudaFree(data_); }
  void set(const std::vector<T>& values) {
    require(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> get() const {
    std::vector<T> values(size_);
    require(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }
  T* data() const { return static_cast<T*>(data_); }

 private:
  void* data_ = nullptr;
  std::size_t size_;
};

template <class P>
struct OnDevice {
  Buffer<P> param, grad;
  Buffer<StateOf<P>> m, v;
  Buffer<std::int64_t> step;

  OnDevice(std::size_t n, std::uint64_t seed)
      : param(normal<P>(n, seed)),
        grad(normal<P>(n, seed + 1000)),
        m(std::vector<StateOf<P>>(n)),
        v(std::vector<StateOf<P>>(n)),
        step({0}),
        size(static_cast<std::int64_t>(n)) {}
  std::int64_t size;

  TensorJob job(const GroupOptions& o) const {
    return {kDtype<P>, 0, param.data(), grad.data(), {o.held ? m.data() : nullptr, v.data()}, step.data(), size};
  }
};

template <class P>
std::vector<OnDevice<P>> make_tensors() {
  std::vector<OnDevice<P>> tensors;
  for (std::size_t t = 0; t < kSizes.size(); ++t) tensors.emplace_back(kSizes[t], 17 + t);
  return tensors;
}

template <class P>
std::vector<TensorJob> jobs_of(const std::vector<OnDevice<P>>& tensors, const GroupOptions& options) {
  std::vector<TensorJob> jobs;
  for (const auto& t : tensors) jobs.push_back(t.job(options));
  return jobs;
}

template <class P>
void check_steps(const Setting& setting, double tolerance) {
  const GroupOptions options = group_of(setting);
  auto tensors = make_tensors<P>();
  const auto jobs = jobs_of(tensors, options);
  std::vector<Reference> references;
  std::vector<std::vector<double>> grads;
  double square = 0.0;
  for (const auto& t : tensors) {
    references.push_back({widened(t.param.get()), std::vector<double>(t.size), std::vector<double>(t.size)});
    grads.push_back(widened(t.grad.get()));
    for (const double g : grads.back()) square += g * g;
  }
  const double max_norm = 100.0, norm = std::sqrt(square);
  MultiTensorStep step;
  for (int t = 1; t <= 3; ++t) {
    step.prepare({&options, 1}, jobs, {max_norm, true}, nullptr);
    step.launch(false, nullptr);
    for (std::size_t k = 0; k < tensors.size(); ++k) references[k].step(setting, grads[k], max_norm / (norm + 1e-6), t);
  }
  CHECK(std::abs(step.status(nullptr).grad_norm / norm - 1) <= 1e-12);
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    INFO("rule " << static_cast<int>(setting.rule) << ", tensor " << k);
    CHECK(distance(widened(tensors[k].param.get()), references[k].p) <= tolerance);
    CHECK(tensors[k].step.get()[0] == 3);
    note_values(sizeof(P), widened(tensors[k].param.get()));
  }
}

}  // namespace

TEST_CASE("Three steps on the GPU equal a double-precision reference") {
  if (skipped()) return;
  for (const Setting& o : every_rule()) check_steps<double>(o, 1e-12);
  check_steps<float>(adamw(), 2e-6);
  check_steps<float>(nesterov(), 2e-6);
  // Each of the three stores rounds to 8 bits.
  check_steps<Bf16>(adamw(), 3 * 0x1p-8);
  check_steps<F16>(adamw(), 3 * 0x1p-11);
}

TEST_CASE("The sums equal sums over copies before and after") {
  if (skipped()) return;
  const GroupOptions options = group_of(adamw());
  auto tensors = make_tensors<float>();
  std::vector<std::vector<double>> before;
  for (const auto& t : tensors) before.push_back(widened(t.param.get()));
  MultiTensorStep step;
  step.prepare({&options, 1}, jobs_of(tensors, options), {1.0, true}, nullptr);
  step.launch(true, nullptr);
  const auto sums = step.step_sums(nullptr);
  REQUIRE(sums.size() == tensors.size());
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    INFO("tensor " << k);
    check_sums(sums[k], before[k], widened(tensors[k].param.get()), widened(tensors[k].grad.get()));
  }
}

TEST_CASE("A captured step replayed with changing lr equals eager steps bit for bit") {
  if (skipped()) return;
  GroupOptions options = group_of(adamw());
  auto eager = make_tensors<float>(), replayed = make_tensors<float>();
  const auto eager_jobs = jobs_of(eager, options), replayed_jobs = jobs_of(replayed, options);
  MultiTensorStep a, b;
  cudaStream_t stream = nullptr;
  require(cudaStreamCreate(&stream));
  b.prepare({&options, 1}, replayed_jobs, {1.0, true}, stream);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  b.prepare({&options, 1}, replayed_jobs, {1.0, true}, stream);
  b.launch(true, stream);
  require(cudaStreamEndCapture(stream, &graph));
  require(cudaGraphInstantiate(&executable, graph, 0));
  for (const double lr : {1e-2, 5e-3, 2e-3}) {
    options.lr = lr;
    a.prepare({&options, 1}, eager_jobs, {1.0, true}, nullptr);
    a.launch(true, nullptr);
    b.prepare({&options, 1}, replayed_jobs, {1.0, true}, stream);
    require(cudaGraphLaunch(executable, stream));
  }
  require(cudaDeviceSynchronize());
  for (std::size_t k = 0; k < eager.size(); ++k) {
    CHECK(eager[k].param.get() == replayed[k].param.get());
    CHECK(replayed[k].step.get()[0] == 3);
    CHECK(a.step_sums(nullptr)[k].update_sq == b.step_sums(stream)[k].update_sq);
  }
  // An upload of options would be replayed, and undo every later change of lr.
  options.lr = 1e-3;
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  CHECK_THROWS_AS(b.prepare({&options, 1}, replayed_jobs, {1.0, true}, stream), std::logic_error);
  require(cudaStreamEndCapture(stream, &graph));
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

TEST_CASE("A gradient that is not finite makes the step a no-op") {
  if (skipped()) return;
  const GroupOptions options = group_of(adamw());
  for (const float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto tensors = make_tensors<float>();
    const auto jobs = jobs_of(tensors, options);
    const auto sound = tensors[3].grad.get();
    auto broken = sound;
    broken[16384 + 5] = poison;
    tensors[3].grad.set(broken);
    const auto before = tensors[4].param.get();
    MultiTensorStep step;
    step.prepare({&options, 1}, jobs, {1.0, true}, nullptr);
    step.launch(true, nullptr);
    Status status = step.status(nullptr);
    CHECK(status.bad_tensor == 3);
    CHECK(status.refused_steps == 1);
    CHECK(tensors[4].param.get() == before);
    CHECK(tensors[4].step.get()[0] == 0);
    CHECK(step.step_sums(nullptr)[4].count == 0);
    tensors[3].grad.set(sound);
    step.launch(true, nullptr);
    status = step.status(nullptr);
    CHECK(status.bad_tensor == -1);
    CHECK(status.refused_steps == 1);
    CHECK(tensors[4].param.get() != before);
    CHECK(tensors[4].step.get()[0] == 1);
  }
}

TEST_CASE("Normal numbers are those of the host") {
  if (skipped()) return;
  const Buffer<double> wide(std::vector<double>(5000));
  const Buffer<float> narrow(std::vector<float>(5000));
  launch_normals(wide.data(), 5000, 5, std::uint64_t{1} << 40, nullptr);
  launch_normals(narrow.data(), 5000, 5, std::uint64_t{1} << 40, nullptr);
  const auto doubles = wide.get();
  const auto floats = narrow.get();
  for (std::size_t i = 0; i < doubles.size(); ++i) {
    const double expected = random_normal(5, std::uint64_t{1} << 40, i);
    CHECK(std::abs(doubles[i] - expected) <= 1e-13);
    CHECK(std::abs(floats[i] - expected) <= 1e-6);
  }
}

TEST_CASE("A pass before the step gives each tensor its number, in two groups") {
  if (skipped()) return;
  // The first step of MARS: c = (1 + γβ₁/(1 − β₁))g, divided by its norm above 1; Adam's step is then ηc/(|c| + ε).
  const double beta1 = 0.9, eps = 1.0, gamma[2] = {0.025, 0.5};
  GroupOptions groups[2];
  for (int k = 0; k < 2; ++k) {
    groups[k].lr = groups[k].initial_lr = 1e-2;
    groups[k].clip = false;
    cuda::set_values<methods::MarsAdamW>(groups[k], {beta1, 0.99, gamma[k], eps});
  }
  auto tensors = make_tensors<double>();
  std::vector<Buffer<double>> previous, numbers;
  std::vector<TensorJob> jobs;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    previous.emplace_back(std::vector<double>(kSizes[t]));
    numbers.emplace_back(std::vector<double>(1));
    jobs.push_back(tensors[t].job(groups[t % 2]));
    jobs.back().group = static_cast<std::int32_t>(t % 2);
    jobs.back().state[2] = previous.back().data();
    jobs.back().numbers = numbers.back().data();
  }
  std::vector<std::vector<double>> before;
  for (const auto& t : tensors) before.push_back(t.param.get());
  MultiTensorStep step;
  step.prepare(groups, jobs, {0.0, true}, nullptr);
  step.launch(true, nullptr);
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    INFO("tensor " << t);
    std::vector<double> c = tensors[t].grad.get();
    double square = 0.0;
    for (double& x : c) {
      x *= 1.0 + gamma[t % 2] * beta1 / (1.0 - beta1);
      square += x * x;
    }
    const double clip = square > 1.0 ? 1.0 / std::sqrt(square) : 1.0;
    CHECK(std::abs(numbers[t].get()[0] - clip) <= 1e-12);
    const auto after = tensors[t].param.get();
    for (std::size_t i = 0; i < c.size(); ++i) {
      const double x = c[i] * clip;
      CHECK(std::abs(after[i] - (before[t][i] - 1e-2 * x / (std::abs(x) + eps))) <= 1e-12);
    }
  }
}

TEST_CASE("The clip norm does not depend on the order of tensors") {
  if (skipped()) return;
  const GroupOptions options = group_of(adamw());
  const auto tensors = make_tensors<float>();
  auto jobs = jobs_of(tensors, options);
  MultiTensorStep a, b;
  a.prepare({&options, 1}, jobs, {1.0, true}, nullptr);
  a.launch(false, nullptr);
  std::reverse(jobs.begin(), jobs.end());
  b.prepare({&options, 1}, jobs, {1.0, true}, nullptr);
  b.launch(false, nullptr);
  CHECK(a.status(nullptr).grad_norm == b.status(nullptr).grad_norm);
  CHECK(a.status(nullptr).clip_factor == b.status(nullptr).clip_factor);
}
