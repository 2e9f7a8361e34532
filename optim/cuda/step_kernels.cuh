#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "optim/core/random.hpp"
#include "optim/cuda/element_steps.cuh"
#include "optim/cuda/layout.hpp"
#include "optim/cuda/multi_tensor.hpp"

// The kernels of one step, in the order of their launch. Every sum is added in an order that the layout fixes, so that
// a step gives the same bits each time. See layout.hpp for who takes which element.
namespace scalevec::cuda {

using kernels::Dtype;

// Addresses of the tables on the device.
struct View {
  std::int64_t tensors;
  const GroupOptions* groups;
  const TensorRow* rows;
  const void* const* grads;
  const std::int64_t* first_unit;
  const StepLimits* limits;
  double* unit_norms;  // Σg² of each unit
  int* unit_finite;
  double* tensor_norms;
  int* tensor_finite;
  Constants* constants;         // of each tensor
  double* unit_sums;            // kSumCount for each unit; before the step, those that modifiers need
  kernels::StepScales* scales;  // of each part of a tensor, in the place of its first unit
  StepSums* tensor_sums;        // of the last kSumsKept launches
  Status* status;
};

// Where the sums of the launch before `launches` − `ago` are, in blocks of one per tensor.
SCALEVEC_HD constexpr std::int64_t sums_slot(std::int64_t launches, std::int64_t ago) {
  return (launches - 1 - ago + kSumsKept) % kSumsKept;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    normals_kernel(T* __restrict__ out, std::int64_t count, std::uint64_t seed, std::uint64_t stream) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kPass;
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int64_t i = element({begin, count}, 0, lane, static_cast<int>(threadIdx.x));
    if (i < count) out[i] = static_cast<T>(random_normal(seed, stream, static_cast<std::uint64_t>(i)));
  }
}

// Sum of every thread's value, for all threads; `row` is shared memory.
__device__ inline double block_sum(double value, double* row) {
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  row[thread] = value;
  for (int width = kThreads / 2; width > 0; width /= 2) {
    __syncthreads();
    add_half(row, thread, width);
  }
  __syncthreads();
  return row[0];
}

template <class T, class Op>
__device__ T block_reduce(T value, T* row, Op op) {
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  row[thread] = value;
  for (int width = kThreads / 2; width > 0; width /= 2) {
    __syncthreads();
    if (thread < width) row[thread] = op(row[thread], row[thread + width]);
  }
  __syncthreads();
  return row[0];
}

// The sum of value(j) for j < count, for all threads, whose bits no order of the values changes: they are added as
// integers, and as they are where one is not finite.
template <class Value>
__device__ double sum_in_any_order(std::int64_t count, const Value& value, double* row, std::int64_t* integer_row) {
  const int thread = static_cast<int>(threadIdx.x);
  double max = 0.0, sum = 0.0;
  for (std::int64_t j = thread; j < count; j += kThreads) {
    max = fmax(max, fabs(value(j)));
    sum += value(j);
  }
  max = block_reduce(max, row, [](double a, double b) { return fmax(a, b); });
  sum = block_sum(sum, row);
  if (!isfinite(sum)) return sum;
  const int shift = sum_shift(max, count);
  std::int64_t total = 0;
  for (std::int64_t j = thread; j < count; j += kThreads) total += to_integer(value(j), shift);
  total = block_reduce(total, integer_row, [](std::int64_t a, std::int64_t b) { return a + b; });
  return from_integer(total, shift);
}

// In double, where the square of a finite float is finite. A thread has 64 bytes in flight, since nothing but loads
// keeps the memory busy here.
template <class P>
__device__ void square_sum(const P* __restrict__ grad, Range range, double& sum, int& finite) {
  constexpr int kTaken = 64 / static_cast<int>(sizeof(P));
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t pass = 0; pass < passes_of(range); pass += kTaken / kLanes) {
    P taken[kTaken];
#pragma unroll
    for (int k = 0; k < kTaken; ++k) {
      const std::int64_t i = element(range, pass + k / kLanes, k % kLanes, thread);
      taken[k] = i < range.end ? grad[i] : P();
    }
#pragma unroll
    for (int k = 0; k < kTaken; ++k) {
      const auto x = static_cast<double>(load(taken[k]));
      finite &= isfinite(x) ? 1 : 0;
      sum += x * x;
    }
  }
}

__global__ void __launch_bounds__(kThreads) norm_kernel(View v) {
  __shared__ double row[kThreads];
  const std::int64_t unit = blockIdx.x;
  const std::int64_t tensor = tensor_of_unit(v.first_unit, v.tensors, unit);
  const Range range = unit_range(unit - v.first_unit[tensor], v.rows[tensor].size, v.rows[tensor].parts);
  if (is_first_pass(v.groups[v.rows[tensor].group].rule)) {
    if (threadIdx.x == 0) {
      v.unit_norms[unit] = 0.0;
      v.unit_finite[unit] = 1;
    }
    return;
  }
  const void* grad = v.grads[tensor];
  double sum = 0.0;
  int finite = 1;
  switch (v.rows[tensor].dtype) {
    case Dtype::float32:
      square_sum(static_cast<const float*>(grad), range, sum, finite);
      break;
    case Dtype::float64:
      square_sum(static_cast<const double*>(grad), range, sum, finite);
      break;
    case Dtype::bfloat16:
      square_sum(static_cast<const Bf16*>(grad), range, sum, finite);
      break;
    case Dtype::float16:
      square_sum(static_cast<const F16*>(grad), range, sum, finite);
      break;
  }
  sum = block_sum(sum, row);
  finite = __syncthreads_and(finite);
  if (threadIdx.x == 0) {
    v.unit_norms[unit] = sum;
    v.unit_finite[unit] = finite;
  }
}

// One block per tensor.
__global__ void __launch_bounds__(kThreads) tensor_norm_kernel(View v) {
  __shared__ double row[kThreads];
  const std::int64_t tensor = blockIdx.x;
  double sum = 0.0;
  int finite = 1;
  for (std::int64_t u = v.first_unit[tensor] + threadIdx.x; u < v.first_unit[tensor + 1]; u += kThreads) {
    sum += v.unit_norms[u];
    finite &= v.unit_finite[u];
  }
  sum = block_sum(sum, row);
  finite = __syncthreads_and(finite);
  if (threadIdx.x == 0) {
    v.tensor_norms[tensor] = sum;
    v.tensor_finite[tensor] = finite;
  }
}

// One block: global norm, clip factor, whether the step is made, then each tensor's step count and constants.
__global__ void __launch_bounds__(kThreads) setup_kernel(View v, bool norms) {
  __shared__ double row[kThreads];
  __shared__ std::int64_t integer_row[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  double factor = v.limits->clip_factor, norm = kNoTrace;
  std::int64_t bad = v.tensors;
  if (norms) {
    for (std::int64_t j = thread; j < v.tensors; j += kThreads)
      if (v.limits->check_finite && !v.tensor_finite[j] && j < bad) bad = j;
    bad = block_reduce(bad, integer_row, [](std::int64_t a, std::int64_t b) { return a < b ? a : b; });
    norm = sqrt(sum_in_any_order(
        v.tensors, [&](std::int64_t j) { return v.groups[v.rows[j].group].clip ? v.tensor_norms[j] : 0.0; }, row,
        integer_row));
    if (v.limits->max_norm > 0.0) factor = clip_factor_of(norm, v.limits->max_norm);
  }
  const bool refused = bad < v.tensors;
  if (thread == 0) {
    v.status->grad_norm = norm;
    v.status->clip_factor = factor;
    v.status->bad_tensor = refused ? bad : -1;
    v.status->refused_steps += refused ? 1 : 0;
    v.status->launches += 1;
  }
  if (refused) return;
  for (std::int64_t j = thread; j < v.tensors; j += kThreads) {
    const TensorRow& tensor = v.rows[j];
    const GroupOptions& group = v.groups[tensor.group];
    with_rule(DeviceRules(), group, [&]<class M>(std::type_identity<M>) {
      advance_numbers<M>(group, *tensor.step + 1, nullptr, tensor.numbers);
    });
    v.constants[j] = constants_at(group, factor, *tensor.step + 1, tensor.numbers, true);
  }
  // Two rows of a matrix share its count.
  __syncthreads();
  for (std::int64_t j = thread; j < v.tensors; j += kThreads)
    if (!is_first_pass(v.groups[v.rows[j].group].rule)) *v.rows[j].step = v.constants[j].step;
}

// Whether options may modify the rule's steps.
template <class M>
inline constexpr bool kModifiable = kMoves<M> && !kHasCodes<M> && !kOwnDecay<M> && !kHasAverage<M> && !kUnmodified<M>;

template <class M, Pass kKind>
struct RuleOfPass {
  using type = M;
};
template <class M>
struct RuleOfPass<M, Pass::before> {
  using type = typename M::Measure;
};

// A pass over the tensors whose rule is M, and whose group modifies its steps if the pass is of those.
template <class M, Pass kKind>
__global__ void __launch_bounds__(kThreads) step_kernel(View v) {
  if (v.status->bad_tensor >= 0) return;
  const std::int64_t unit = blockIdx.x;
  const std::int64_t j = tensor_of_unit(v.first_unit, v.tensors, unit);
  const TensorRow tensor = v.rows[j];
  constexpr auto rule = static_cast<std::int32_t>(index_in<M>(DeviceRules()));
  const GroupOptions& group = v.groups[tensor.group];
  if (group.rule != rule) return;
  constexpr bool kOfModifier = kKind == Pass::measured || kKind == Pass::modified;
  if constexpr (kModifiable<M> && kKind != Pass::before) {
    if (group.modified() != kOfModifier) return;
    if (kKind == Pass::measured && !group.modifier(nullptr).needs_sums()) return;
  }
  using R = typename RuleOfPass<M, kKind>::type;
  const unsigned held = group.held;
  const std::int64_t index = unit - v.first_unit[j];
  const Range range = unit_range(index, tensor.size, tensor.parts);
  kernels::StepScales scales;
  if constexpr (kKind == Pass::modified) {
    const std::int64_t of_part = units_of(tensor.size, tensor.parts) / tensor.parts;
    scales = v.scales[v.first_unit[j] + index / of_part * of_part];
  }
  double total[kSumCount] = {};
  constexpr std::make_index_sequence<kSubsets<R>> subsets;
  switch (tensor.dtype) {
    case Dtype::float32:
      step_unit<R, float, kKind>(tensor, v.grads[j], held, v.constants[j], group, scales, range, total, subsets);
      break;
    case Dtype::float64:
      step_unit<R, double, kKind>(tensor, v.grads[j], held, v.constants[j], group, scales, range, total, subsets);
      break;
    case Dtype::bfloat16:
      step_unit<R, Bf16, kKind>(tensor, v.grads[j], held, v.constants[j], group, scales, range, total, subsets);
      break;
    case Dtype::float16:
      step_unit<R, F16, kKind>(tensor, v.grads[j], held, v.constants[j], group, scales, range, total, subsets);
      break;
  }
  if constexpr (kKind != Pass::step) {
    __shared__ double row[kThreads];
    for (int k = 0; k < kSumCount; ++k) {
      const double sum = block_sum(total[k], row);
      if (threadIdx.x == 0) v.unit_sums[unit * kSumCount + k] = sum;
    }
  }
}

// One block per tensor: the two sums of the pass before its step, in the place of its first unit.
__global__ void __launch_bounds__(kThreads) pass_sums_kernel(View v) {
  __shared__ double row[kThreads];
  const std::int64_t j = blockIdx.x, first = v.first_unit[j], end = v.first_unit[j + 1];
  if (v.status->bad_tensor >= 0 || first == end || !measures(v.groups[v.rows[j].group].rule)) return;
  double total[2] = {};
  for (std::int64_t u = first + threadIdx.x; u < end; u += kThreads)
    for (int k = 0; k < 2; ++k) total[k] += v.unit_sums[u * kSumCount + k];
  for (int k = 0; k < 2; ++k) total[k] = block_sum(total[k], row);
  if (threadIdx.x < 2) v.unit_sums[first * kSumCount + threadIdx.x] = total[threadIdx.x];
}

// One block per group: from those sums the numbers that the method keeps of its tensors, and their constants.
__global__ void __launch_bounds__(kThreads) advance_kernel(View v) {
  __shared__ double row[kThreads];
  __shared__ std::int64_t integer_row[kThreads];
  const std::int64_t g = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  const GroupOptions& group = v.groups[g];
  if (v.status->bad_tensor >= 0 || !measures(group.rule)) return;
  const auto sum_of = [&](std::int64_t j, int k) {
    const std::int64_t first = v.first_unit[j];
    return first < v.first_unit[j + 1] ? v.unit_sums[first * kSumCount + k] : 0.0;
  };
  double of_group[2] = {};
  for (int k = 0; k < 2; ++k)
    of_group[k] = sum_in_any_order(
        v.tensors, [&](std::int64_t j) { return v.rows[j].group == g ? sum_of(j, k) : 0.0; }, row, integer_row);
  for (std::int64_t j = thread; j < v.tensors; j += kThreads) {
    const TensorRow& tensor = v.rows[j];
    if (tensor.group != g) continue;
    with_rule(DeviceRules(), group, [&]<class M>(std::type_identity<M>) {
      const double sums[2] = {kSumsOfGroup<M> ? of_group[0] : sum_of(j, 0),
                              kSumsOfGroup<M> ? of_group[1] : sum_of(j, 1)};
      advance_numbers<M>(group, *tensor.step, sums, tensor.numbers);
    });
    v.constants[j] = constants_at(group, v.status->clip_factor, *tensor.step, tensor.numbers);
  }
}

// One block per tensor: the scales of a modified tensor's parts from the sums of the pass before.
__global__ void __launch_bounds__(kThreads) scales_kernel(View v) {
  __shared__ double row[kThreads];
  if (v.status->bad_tensor >= 0) return;
  const std::int64_t j = blockIdx.x;
  const TensorRow tensor = v.rows[j];
  const GroupOptions& group = v.groups[tensor.group];
  if (!group.modified() || tensor.size == 0) return;
  const kernels::Modifier modifier = group.modifier(tensor.held_norm);
  const std::int64_t of_part = units_of(tensor.size, tensor.parts) / tensor.parts;
  for (std::int64_t part = 0; part < tensor.parts; ++part) {
    const std::int64_t first = v.first_unit[j] + part * of_part;
    double total[6] = {};
    if (modifier.needs_sums()) {
      for (std::int64_t u = first + threadIdx.x; u < first + of_part; u += kThreads)
        for (int k = 0; k < 6; ++k) total[k] += v.unit_sums[u * kSumCount + k];
      for (int k = 0; k < 6; ++k) total[k] = block_sum(total[k], row);
    }
    if (threadIdx.x != 0) continue;
    const kernels::ModifierSums sums{total[0], total[1], total[2], total[3], total[4], total[5]};
    const std::int64_t count = tensor.size / tensor.parts;
    v.scales[first] = tensor.dtype == Dtype::float64 ? kernels::noted_scales_of<double>(modifier, sums, count, part)
                                                     : kernels::noted_scales_of<float>(modifier, sums, count, part);
  }
}

// The kernels that go over the units of tensors of these groups, one per rule; a block of another rule's tensor ends at
// once. Those of the first passes of matrices; the passes before a method's step, which pass_sums_kernel and
// advance_kernel follow; those that measure for modifiers, which scales_kernel follows; then the steps.
enum class Phase { first, before, measure, step };
using StepKernel = void (*)(View);
template <class... M>
std::vector<StepKernel> step_kernels_of(TypeList<M...>, const std::vector<GroupOptions>& groups, Phase phase,
                                        bool sums) {
  std::vector<StepKernel> kernels;
  std::int32_t rule = 0;
  const auto used = [&](bool modified) {
    return std::any_of(groups.begin(), groups.end(),
                       [&](const GroupOptions& g) { return g.rule == rule && g.modified() == modified; });
  };
  const auto add = [&]<class R>(std::type_identity<R>) {
    if constexpr (kMeasures<R>)
      if (phase == Phase::before && (used(false) || used(true))) kernels.push_back(&step_kernel<R, Pass::before>);
    if ((phase == Phase::first || phase == Phase::step) && (phase == Phase::first) == is_first_pass(rule) &&
        used(false))
      kernels.push_back(sums ? &step_kernel<R, Pass::summed> : &step_kernel<R, Pass::step>);
    if constexpr (kModifiable<R>) {
      if (phase == Phase::measure && used(true)) kernels.push_back(&step_kernel<R, Pass::measured>);
      if (phase == Phase::step && used(true)) kernels.push_back(&step_kernel<R, Pass::modified>);
    }
    ++rule;
  };
  (add(std::type_identity<M>()), ...);
  return kernels;
}
inline std::vector<StepKernel> step_kernels(const std::vector<GroupOptions>& groups, Phase phase, bool sums) {
  return step_kernels_of(DeviceRules(), groups, phase, sums);
}

// One block per tensor.
__global__ void __launch_bounds__(kThreads) tensor_sums_kernel(View v) {
  __shared__ double row[kThreads];
  const std::int64_t j = blockIdx.x;
  const bool refused = v.status->bad_tensor >= 0;
  double total[kSumCount] = {};
  const bool counts = !refused && !is_first_pass(v.groups[v.rows[j].group].rule);
  for (std::int64_t u = v.first_unit[j] + threadIdx.x; u < v.first_unit[j + 1] && counts; u += kThreads)
    for (int k = 0; k < kSumCount; ++k) total[k] += v.unit_sums[u * kSumCount + k];
  for (int k = 0; k < kSumCount; ++k) total[k] = block_sum(total[k], row);
  if (threadIdx.x != 0) return;
  const Dtype dtype = v.rows[j].dtype;
  const double spacing = dtype == Dtype::float32    ? kernels::kSpacing<float>
                         : dtype == Dtype::bfloat16 ? kernels::kSpacing<Bf16>
                         : dtype == Dtype::float16  ? kernels::kSpacing<F16>
                                                    : kernels::kSpacing<double>;
  const bool short_type = dtype == Dtype::bfloat16 || dtype == Dtype::float16;
  v.tensor_sums[sums_slot(v.status->launches, 0) * v.tensors + j] =
      StepSums{total[0],
               total[1],
               total[2],
               total[3],
               total[4],
               total[5],
               counts ? v.rows[j].size : 0,
               spacing * spacing * total[1] / 12.0,
               total[6],
               short_type && counts ? static_cast<double>(v.rows[j].size) : 0.0};
}

}  // namespace scalevec::cuda
