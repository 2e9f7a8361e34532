#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "optim/core/method_traits.hpp"
#include "optim/core/traces.hpp"
#include "optim/core/update_rules.hpp"
#include "optim/kernels/element_types.hpp"
#include "optim/kernels/modifiers.hpp"

// The CPU's elementwise optimizer step over many tensors at once. No LibTorch here: raw pointers and a parallel loop
// that the caller gives. Compiled for several instruction sets, of which the machine's best is taken when it runs.
namespace scalevec::kernels {

enum class Dtype : std::uint8_t { float32, float64, bfloat16, float16 };

struct Job;

// A rule's loops over the elements [begin, end) of a job's tensor, with some of its buffers. Those called `part` are of
// a part of a tensor that its caller stores: their sums have only what the rule knows, and they say in `by`, of the
// state's type, how far each element was to move.
struct RuleLoops {
  using Run = void (*)(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums, void* by);
  Run float32, float32_sums, float32_part, float64, float64_sums, float64_part, bfloat16;
  bool moves;          // whether the rule writes the parameter
  unsigned held;       // the bits of the buffers
  bool codes = false;  // the buffers are those of block_states.hpp, and not an element for each of the parameter
};

// A rule with its constants of a step.
struct Rule {
  const RuleLoops* loops = nullptr;
  rules::Decay<double> decay;
  std::array<double, kMaxConstants> constants{};
  std::uint32_t step = 0;  // of a rule whose states are codes
};

template <class M>
Rule make_rule(const RuleLoops& loops, const rules::Decay<double>& decay,
               const typename M::template Constants<double>& constants) {
  Rule rule{&loops, decay, {}};
  const auto flat = numbers<M>(constants);
  for (std::size_t k = 0; k < flat.size(); ++k) rule.constants[k] = flat[k];
  return rule;
}

// How a tensor of 16 bits takes its new values; nothing to others.
struct Store {
  Rounding rounding = Rounding::nearest;
  std::int16_t* low = nullptr;  // of `compensated`, one for each element
  std::uint64_t stream = 0;     // of `stochastic`: which tensor it is
  std::int64_t step = 0;        // of `stochastic`: which of its steps
};

// One tensor's step. `param` and `grad` have `dtype`; the states are float64 for float64 and float32 otherwise.
struct Job {
  Rule rule;
  Dtype dtype = Dtype::float32;
  void* param = nullptr;
  const void* grad = nullptr;
  void* state[kMaxBuffers] = {};  // those that the rule has and the options ask for, each in its place
  std::int64_t size = 0;
  const Store* store = nullptr;        // none: to nearest
  const Modifier* modifier = nullptr;  // none: the rule's own step
  std::int64_t first = 0;              // the element of the tensor that `param` begins at; states that are codes do not
};

// Calls body(i) for every i in [0, count), on any threads.
using ParallelFor = std::function<void(std::int64_t count, const std::function<void(std::int64_t)>& body)>;

// Elements per unit of work. Fixed, so that sums do not depend on the number of threads.
inline constexpr std::int64_t kChunk = 16384;

// A part of a job's tensor, worked on by one thread.
struct Unit {
  std::size_t job;
  std::int64_t begin, end;
};

// A step in two parts: making it allocates and may throw, running it does neither. `jobs` outlives it. Where a modifier
// needs sums, running it goes over the tensor twice.
class StepPlan {
 public:
  StepPlan(std::span<const Job> jobs, bool with_sums);
  // `sums` has one entry per job, or none without sums.
  void run(std::span<StepSums> sums, const ParallelFor& parallel_for);

 private:
  void divide_into_blocks();
  void make_scales();

  std::span<const Job> jobs_;
  std::vector<Unit> units_;
  std::vector<StepSums> partial_;  // of each unit
  // Of modifiers: which block of all a unit belongs to, the blocks' sums and scales.
  std::vector<std::size_t> block_of_;
  std::vector<std::size_t> measured_;   // units that are gone over twice
  std::vector<ModifierSums> measures_;  // of those
  std::vector<StepScales> scales_;
  const struct Table* table_;
};

// Updates every job's tensor. If `sums` is not empty it has one entry per job and receives its sums, accumulated
// while the values are in registers, in fixed order: float partial sums over short blocks and double above, and double
// throughout in blocks where a difference of the sums would cancel.
void step(std::span<const Job> jobs, std::span<StepSums> sums, const ParallelFor& parallel_for);

struct GradView {
  Dtype dtype = Dtype::float32;
  const void* grad = nullptr;
  std::int64_t size = 0;
};

// Σ g² of each tensor; infinite or NaN exactly if an element is (finite values whose squares overflow are summed again
// in double).
std::vector<double> squared_norms(std::span<const GradView> grads, const ParallelFor& parallel_for);

// The functions one instruction set provides.
struct Table {
  void (*step_chunk)(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums);
  // The same of a job with a modifier, and the sums that its scales come from, for which nothing is written.
  void (*modified_chunk)(const Job& job, const StepScales& scales, std::int64_t begin, std::int64_t end,
                         StepSums* sums);
  ModifierSums (*measure_chunk)(const Job& job, std::int64_t begin, std::int64_t end);
  double (*square_sum)(const GradView& view, std::int64_t begin, std::int64_t end);
  const RuleLoops* (*loops_of)(std::size_t rule, std::size_t subset);
};

// The functions that this machine's best instruction set provides.
const Table& chosen_table();

}  // namespace scalevec::kernels
