#pragma once

#include "scalevec/theory/holds.hpp"
#include "scalevec/theory/moving_rotation.hpp"

// T12 and T13: what gradient noise, decay and growth of θ = γw do to the ratio of a column's length to its scale while
// the loss holds γ‖w‖ = R: each alone moves ‖w‖² and γ², the loss pulls both back along its own flow. All throw
// std::domain_error naming the argument outside its domain. Source: T13, ours; to first order in the learning rates.
namespace scalevec {

// A ratio y that moves by d ln y/dn = (rise − fall y)/(1 + weight y) per step, of a column with c rows.
struct RatioFlow {
  double rise = 0.0, fall = 0.0, weight = 1.0;  // > 0
  double growth = 1.0;  // what one unit of d ln R/dn adds: growth (1 − weight y)/(1 + weight y)
};

struct RatioSgd {
  double rows = 1.0;                        // c ≥ 1
  double sigma = 1.0;                       // standard deviation of each ∂L/∂θ_i, > 0
  double along = 1.0;                       // ŵᵀΣŵ c/tr Σ > 0: 1 for isotropic noise
  double lr_w = 0.0;                        // η_w > 0; with momentum β the lr over 1 − β
  double lr_gamma = 0.0;                    // η_γ > 0
  double decay_w = 0.0, decay_gamma = 0.0;  // per step, η_wλ_w and η_γλ_γ, ≥ 0
};
// y = ρ = ‖w‖²/γ² under SGD, m = η_γ/η_w: rise 2(m η_w²cσ² + 2x_γ), fall 2(η_γ²σ² + 2m x_w), weight m. Without decay it
// ends at c/m (isotropic noise), with equal lrs and decays λ at (ηcσ² + 2λ)/(ησ² + 2λ).
RatioFlow sgd_ratio(const RatioSgd& problem);
// Whether the noise of θ is small beside R, h > 0 the curvature, at the ratio ρ.
Holds sgd_ratio_holds(const RatioSgd& problem, double h, double target, double ratio);

struct RatioNormalised {
  double target = 1.0;   // R > 0
  double noise_w = 0.0;  // what a step's noise adds to ‖w‖² in the long run: η_w² · long_run of the column, > 0
  double noise_gamma = 0.0;  // the same for γ², > 0
  double gain = 1.0;         // K > 0: lr times response to a small mean gradient in units of its noise, w over γ
  double decay_w = 0.0, decay_gamma = 0.0;  // per step, ≥ 0
};
// y = q = ‖w‖/γ under updates that do not see the gradient's size, gradient noise well above the gradient: d ln q/dn =
// [n_w/R + 2K x_γ − q(K n_γ/R + 2x_w)]/(K + q). What the loss alone keeps is ‖w‖ − Kγ.
RatioFlow normalised_ratio(const RatioNormalised& problem);
// AdamW on both: n_w = η_w²c, n_γ = η_γ², K = η_w/η_γ. Without decay q → c(η_w/η_γ), that is ‖w‖² = c²γ² at equal lrs,
// R/η² steps away.
RatioNormalised adamw_pair(double rows, double target, double lr_w, double lr_gamma);
// Lion on both: the same with each noise times its long run per weight; gains cancel.
RatioNormalised lion_pair(double rows, double target, double lr_w, double lr_gamma, double beta1, double beta2);
// Muon on an n × n matrix, AdamW on the scales of its columns: n_w = η_W²nV, K = η_W a/(τη_γ).
RatioNormalised muon_pair(double size, double momentum, const Orthogonalised& by, double target, double lr_w,
                          double lr_gamma);
// Whether the noise of θ is small beside R: η_wσ(c)/(2h)-sized variances at the ratio q, σ the gradient noise.
Holds normalised_ratio_holds(const RatioNormalised& problem, double h, double sigma, double ratio);

// The fixed point rise/fall; the rate per step at which a small distance (relative) from it decays.
double settled_ratio(const RatioFlow& flow);
double ratio_relaxation(const RatioFlow& flow);
// Steps from the ratio `from` to `to`, both on one side of the fixed point and `to` between `from` and it:
// ln(to/from)/rise − (1/rise + weight/fall) ln[(rise − fall to)/(rise − fall from)].
double ratio_steps(const RatioFlow& flow, double from, double to);
// The ratio after n ≥ 0 steps. Relative error ≤ 1e-10.
double ratio_after(const RatioFlow& flow, double from, double steps);

// With R growing by the share g per step (signal), or shrinking: acts as decay on both.
RatioFlow with_growth(const RatioFlow& flow, double growth_per_step);
// The growth g per step that holds the ratio at `ratio`; infinite at ratio = 1/weight, where growth alone would end.
double growth_of_ratio(const RatioFlow& flow, double ratio);

// The signal-to-noise ratio s (per coordinate of w, persistent) above which decay λ_γ on the scale outweighs AdamW's
// noise in q's rise, c η/(R(1 + s²)) = 2λ_γ, so that the ratio is T4's λ_γ/λ_w rather than the noise's: 0 where it does
// at any s.
double noise_to_decay_snr(double rows, double target, double lr, double decay_gamma);

}  // namespace scalevec
