#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "optim/methods/elementwise.hpp"

// The loops over replicas of the batched simulation, compiled per instruction set. Everything stands in rows of kLanes
// doubles, one per replica: a replica's values are the same whichever lane it has and whatever stands beside it.
namespace scalevec::theory::simulate {

using SimulatedRules = KernelsOf<PlainOf<ElementwiseMethods>>;

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

// The rows that a block of replicas has for its rule: decay terms, its target and η_t of the step; then the method's
// options, the powers of the steps done, and the constants of the step.
enum RuleRow : std::size_t { kL2, kShrink, kTarget, kLr, kOptionRows };
template <class M>
inline constexpr std::size_t kPowerRows = kOptionRows + kOptions<M>;
template <class M>
inline constexpr std::size_t kConstantRows = kPowerRows<M> + kPowers<M>;
template <class M>
inline constexpr std::size_t kRuleRows = kConstantRows<M> + kConstants<M>;

// A step of kLanes replicas.
struct StepJob {
  std::size_t rows;  // parameters of a replica
  double* param;
  const double* grad;
  double* state[kMaxBuffers];  // those that are held
  double* rule;                // kRuleRows rows
  double t;                    // ≥ 1
  bool anew;                   // the constants are not those of the last step
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

// One table per instruction set.
struct Table {
  // The step of the rule at this place of SimulatedRules, with a subset of its buffers (subset_of()).
  void (*(*step)(std::size_t rule, std::size_t subset))(const StepJob&);
  // random_normal_of_pair(seed, streams[l], 2·block) into `even`, the next into `odd`, for every lane.
  void (*normals)(std::uint64_t seed, const std::uint64_t* streams, std::uint64_t block, double* even, double* odd);
  void (*map)(const MapJob&);
  void (*form_forward)(const FormJob&);
  void (*form_backward)(const FormJob&);
};

// The machine's best, or the one that SCALEVEC_ISA names.
const Table& kernels();

}  // namespace scalevec::theory::simulate
