#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "optim/core/decay.hpp"
#include "optim/core/schedule.hpp"
#include "theory/holds.hpp"
#include "theory/muon.hpp"

// T11 and T12: length and rotation of weights before a norm out of equilibrium, w ← (1 − x_t)w − η_t u_t under any
// schedule of η_t and x_t. All throw std::domain_error naming the argument outside its domain. Source: ours.
namespace scalevec::theory {

// Second moments of the updates u_t of a block while its gradients are noise, orthogonal to w and independent from step
// to step: E u_t·u_t, and E u_t·u_{t+k} = Σ amplitude · ratio^k for k ≥ 1.
struct UpdateNoise {
  struct Lag {
    double amplitude = 0.0, ratio = 0.0;
  };
  double mean_square = 1.0;
  std::vector<Lag> lags;
  bool bias_corrected = false;  // one lag, a mean that starts empty and is divided by 1 − ratio^t (Adam's m̂)

  double long_run() const;  // E u·u + 2Σ_k E u_t·u_{t+k}: what the updates add to ‖w‖² over many steps
};

// d weights under AdamW, β₂ → 1: mean square d(1 − β₁)/(1 + β₁), autocorrelation β₁^k, long run d.
UpdateNoise adamw_update_noise(double dimension, double beta1);
// d weights under Lion, Gaussian gradients: signs of c_t = β₁m_{t−1} + (1 − β₁)g_t, mean square d, E of signs at lag k
// (2/π) asin ρ_k with ρ_k = ρ₁β₂^{k−1} the autocorrelation of c. To 1e-12 by the arcsine's series. Source: arcsine law.
UpdateNoise lion_update_noise(double dimension, double beta1, double beta2);
// An n × n matrix under Muon (muon_noise: mean square nρ, long run n²V).
UpdateNoise muon_update_noise(double size, double momentum, const Orthogonalised& by);
// The same for `rows` × `columns`, `by` of a spectrum: mean square min·ρ.
UpdateNoise muon_update_noise(double rows, double columns, double momentum, const Orthogonalised& by);
// Of updates that are `factor` > 0 times as long.
UpdateNoise scaled_noise(UpdateNoise noise, double factor);

// η_t, and the share x_t of the weights that decay takes in step t.
struct StepRate {
  double lr = 0.0, decay = 0.0;
};
// Of a schedule with decay toward 0: x_t = η_tλ (`lr`), λη_t/η_0 (`independent`), λη_t²/η_0 (`lr2`); `l2` is none of
// these and refused.
std::vector<StepRate> step_rates(const Schedule& schedule, double lr, double weight_decay, DecayCoupling coupling,
                                 std::int64_t steps);

// Before step t: E‖w‖²; of step t: the angle between w_t and w_{t+1}, radians.
struct Turn {
  double norm_sq = 0.0, rotation = 0.0;
};

// The recursion below a step at a time, for a run that is on its way.
class RotationWalk {
 public:
  // ‖w₀‖² = norm_sq > 0.
  RotationWalk(UpdateNoise noise, double norm_sq);

  // What the next step would do at this rate: E‖w_t‖², E w_t·w_{t+1} and E‖w_{t+1}‖², whose sums over blocks are those
  // of the blocks side by side.
  struct Move {
    double norm_sq = 0.0, along = 0.0, next_sq = 0.0;
    double across_sq = 0.0;  // norm_sq · next_sq − along², without its cancellation

    double rotation() const;  // radians
    Move& operator+=(const Move& block);
  };
  Move next_move(const StepRate& rate) const;
  Move step(const StepRate& rate);  // makes it

  double norm_sq() const { return norm_sq_; }
  double update_along() const;   // E w·u of the next step
  double update_square() const;  // E u·u of it

 private:
  double fresh() const;

  UpdateNoise noise_;
  double norm_sq_, beta_ = 0.0, power_ = 0.0;  // β₁ and β₁^{t+1} of a mean that starts empty, else 0
  std::vector<double> along_;                  // each lag's part of E w·u
};

// The exact recursion of E‖w‖², E w·u and E u·u from ‖w₀‖² = norm_sq, one element per step. In short, while ηλ ≪ 1 −
// β₁:
//   d‖w‖²/dt = −2x_t‖w‖² + η_t² long_run,   rotation = η_t√mean_square/‖w‖,
// linear in ‖w‖² and forgotten after 1/(2x_t) steps. x_t in [0, 1), lr ≥ 0.
std::vector<Turn> moving_rotation(const UpdateNoise& noise, double norm_sq, std::span<const StepRate> rates);

// SGD with momentum β and decoupled decay, whose gradients have the root mean square norm g̃/‖w‖: the same recursion, in
// short Bernoulli's equation d‖w‖⁴/dt = −4x_t‖w‖⁴ + 2η_t²g̃²/(1 − β)².
std::vector<Turn> moving_rotation_sgd(double momentum, double grad_norm, double norm_sq,
                                      std::span<const StepRate> rates);

// Where the recursion settles at constant rates, exactly in x ∈ (0, 1):
//   ‖w‖² x(2 − x) = η²[mean_square + 2(1 − x)Σ amplitude ratio/(1 − ratio(1 − x))].
Turn settled_rotation(const UpdateNoise& noise, const StepRate& rate);

// The lr of each step that turns the weights by rotation[t] (radians, in [0, π/2)) under decay x_t = η_tλ, whatever
// the length does meanwhile.
std::vector<double> lr_for_rotation(const UpdateNoise& noise, double norm_sq, double weight_decay,
                                    std::span<const double> rotation);

// Whether gradients that shrink as 1/‖w‖ leave Adam's second moment in step: the largest |Δ ln ‖w‖²| over its memory
// 1/(1 − β₂), and the block's size.
Holds moving_rotation_holds(std::span<const Turn> turns, double beta2, double dimension);

// Numbers of a planned run, for advice: none of them changes anything.
struct RotationPlan {
  double relaxation_steps = 0.0;                // 1/(2x) at the largest x; infinite without decay
  double start = 0.0, middle = 0.0, end = 0.0;  // rotation at the first step, halfway, at the last step with lr > 0
  double out_of_equilibrium = 0.0;              // share of the steps whose rotation is off its settled value by > 10 %
  double decay_leaves = 1.0;                    // Π(1 − x_t): what decay alone would leave of the weights
  bool decay_cannot_act = false;                // 2Σx_t < ½: the length at the end is mostly that of the start
};
RotationPlan rotation_plan(const UpdateNoise& noise, double norm_sq, std::span<const StepRate> rates);

}  // namespace scalevec::theory
