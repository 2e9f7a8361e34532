#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

// The loops over replicas of the batched simulation, compiled per instruction set. Everything stands in rows of kLanes
// doubles, one per replica: a replica's values are the same whichever lane it has and whatever stands beside it.
namespace scalevec::simulate {

// Replicas side by side. A simulation pads its last block.
inline constexpr std::size_t kLanes = 64;

// Rows of kLanes doubles, on cache lines: a vector of 64 bytes across two of them takes two loads.
template <class T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  CacheLineAllocator() = default;
  template <class U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kLine)); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, kLine); }
  bool operator==(const CacheLineAllocator&) const = default;
};
using Rows = std::vector<double, CacheLineAllocator<double>>;

constexpr std::size_t padded(std::size_t replicas) { return (replicas + kLanes - 1) / kLanes * kLanes; }

// The hyperparameters of a replica's rule at a step, in the order of rule_rows.
enum RuleRow : std::size_t {
  kL2,
  kShrink,
  kTarget,
  kLr,  // every method: decay terms, its target, η_t
  kMomentum,
  kKept,
  kNesterov,  // sgd: 1 − dampening, 1 or 0; signum: kKept is 1 − momentum
  kBeta1,
  kOneMinusBeta1,
  kBeta2,
  kOneMinusBeta2,
  kOneMinusBeta3,
  kAlpha,
  kEps,
  kPower1,
  kPower2,  // β₁ᵗ and β₂ᵗ of the steps done
  kStepSize,
  kInvSqrtBias2,  // what follows from them
  kRuleRows
};

// A step of kLanes replicas.
struct StepJob {
  std::size_t rows;  // parameters of a replica
  double* param;
  const double* grad;
  double* state[3];  // as many as the method has
  double* rule;      // kRuleRows rows
};

// loss = Σ ½h(u_i W_ij v_bj − R_ij)² and its gradients with noise σn on each ∂L/∂θ_ij. `v` holds branches ×
// columns rows, b = i·branches/rows; v and u may be null (1), each with its gradient, noise too (0).
struct MapJob {
  std::size_t rows, columns, branches;
  const double *h, *target, *sigma, *noise, *w, *v, *u;
  double *grad_w, *grad_v, *grad_u, *loss;
};

// v = m·α/‖α‖·√d (`unit`) or m·α, and the gradients of m and α from v's. d = columns.
struct FormJob {
  std::size_t columns;
  bool unit;
  const double *magnitude, *alpha;
  double *v, *inverse_norm;  // out of forward; inverse_norm: √d/‖α‖, or 1
  const double* grad_v;
  double *grad_magnitude, *grad_alpha;  // out of backward
};

// One table per instruction set; step[] in the order of SimulatedMethod.
struct Table {
  void (*step[5])(const StepJob&);
  // random_normal_of_pair(seed, streams[l], 2·block) into `even`, the next into `odd`, for every lane.
  void (*normals)(std::uint64_t seed, const std::uint64_t* streams, std::uint64_t block, double* even, double* odd);
  void (*map)(const MapJob&);
  void (*form_forward)(const FormJob&);
  void (*form_backward)(const FormJob&);
};

// The machine's best, or the one that SCALEVEC_ISA names.
const Table& kernels();

}  // namespace scalevec::simulate
