#pragma once

#include "theory/holds.hpp"
#include "theory/moving_rotation.hpp"

// T12 and T13: what gradient noise, decay and growth of θ = γw do to the ratio of a column's length to its scale while
// the loss holds γ‖w‖ = R: each alone moves ‖w‖² and γ², the loss pulls both back along its own flow. All throw
// std::domain_error naming the argument outside its domain. To first order in the learning rates; where `holds` at the
// path's start and end, ln q of AdamW (with_second_moments) and Lion is within normalised_ratio_error() of simulations,
// ρ of SGD within 25 %. Source: T13, ours.
namespace scalevec::theory {

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

// A step moves w by lr · u with E‖u‖² over many steps `noise_w` in all, and by lr · response · (∂L/∂w)/(its noise)
// where the mean gradient is small against its noise; γ alike.
struct RatioNormalised {
  double target = 1.0;                            // R > 0
  double lr_w = 0.0, lr_gamma = 0.0;              // > 0
  double noise_w = 1.0, noise_gamma = 1.0;        // > 0, noise_gamma ≥ 0
  double scatter_gamma = 1.0;                     // E u² of γ over many steps: noise_gamma, but for Lion
  double response_w = 1.0, response_gamma = 1.0;  // > 0
  double memory = 1.0;                            // steps for which updates are correlated, ≥ 1
  double decay_w = 0.0, decay_gamma = 0.0;        // per step, ≥ 0

  // K, the lrs' ratio times the responses'.
  double gain() const { return lr_w * response_w / (lr_gamma * response_gamma); }
};
// y = q = ‖w‖/γ under updates that do not see the gradient's size, gradient noise well above the gradient, n_w = η_w²
// noise_w and n_γ likewise: d ln q/dn = [n_w/R + 2K x_γ − q(K n_γ/R + 2x_w)]/(K + q). What the loss alone keeps is ‖w‖
// − Kγ, in place of the flow's γ² − ‖w‖².
RatioFlow normalised_ratio(const RatioNormalised& problem);
// AdamW on both, second moments held while a fluctuation of the scale lasts: noise_w = c. Without decay q → c η_w/η_γ ·
// (η_w/η_γ)/K = c η_w/η_γ: at equal lrs ‖w‖² = c²γ², some R/η² steps away.
RatioNormalised adamw_pair(double rows, double target, double lr_w, double lr_gamma, double beta1 = 0.9);
// The same with second moments that follow. A fluctuation δ of the scale, which the loss takes back at r per step, w's
// and γ's rate together, is in γ's gradient and in the target's row of w's alike; √v̂ divides by its mean δ̃ over 1/(1 −
// β₂) steps, so that the two updates differ by δ − δ̃ alone, and E[(δ − δ̃)e] = r/(r + 1 − β₂) E[δe]. noise_gamma is this
// share, at the ratio where the path ends, and noise_w c − 1 + it: without decay q → 1 + (c − 1)(1 + (1 − β₂)/r) at
// equal lrs, beyond c. For β₂ → 1 (share 1) as above. h > 0 the curvature, σ > 0 the noise. Source: T13, ours.
RatioNormalised with_second_moments(const RatioNormalised& pair, double rows, double h, double sigma, double beta2);
// Lion on both, whose signs of w's row along the target and of γ are one: both take it of (nearly) the same mean of e =
// ∂L/∂θ along ŵ. Response √(2/π) over the standard deviation of what the sign is taken of; noise_w = (c − 1) n + n_s, n
// the long run of the signs (orthogonal rows), noise_gamma = n_s = lion_shared_noise(). Without decay q → 1 + (c − 1)
// n/n_s > c at equal lrs. β₁ > 0, or a decay on w: at β₁ = 0 nothing holds the ratio.
RatioNormalised lion_pair(double rows, double target, double lr_w, double lr_gamma, double beta1, double beta2);
// What of the signs' noise the two share moves them apart. A sign sees the product δe of a fluctuation δ and e where
// its argument x = Σ f_k e_{t−k} is near 0 only, f Lion's weights: η n_s/(2 response) = E[Σ f_k δ_{t−k}e_{t−k} | x =
// 0], to lowest order n_s = (4/π) Σ_{m≥1} ρ_m/√(1 − ρ_m²) Σ_{k<m} f_k²/Σf², ρ the autocorrelation of x. Below n, and 0
// at β₁ = 0, where signs of δe and e are one. β₁, β₂ ∈ [0, 1). Source: T13, ours.
double lion_shared_noise(double beta1, double beta2);
// Muon on an n × n matrix, whose column has noise nV and response a/τ, AdamW on the scales of its columns.
RatioNormalised muon_pair(double size, double momentum, const Orthogonalised& by, double target, double lr_w,
                          double lr_gamma);
// What first order leaves out of ln q at the ratio q, an estimate: the variances of column and scale beside their
// squares, half of what the updates' memory leaves of the error, the squares of the mean gradients over their noise
// that decay asks for, and the target's share that decay takes.
double normalised_ratio_error(const RatioNormalised& problem, double h, double sigma, double ratio);
// Whether, at the ratio q, θ's noise is small beside R and what holds it slow against the updates' memory; σ the
// gradient noise, h the curvature.
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

// The decay λ_γ per unit of lr that raises AdamW's q as much as its noise does, cη/(2R). Above it the ratio is T4's,
// λ_γ/λ_w, below it the noise's. At that balance the scale's mean gradient over its noise is λ_γγ: the signal-to-noise
// ratio above which decay rules is cη/(2‖w‖).
double noise_as_decay(double rows, double target, double lr);

}  // namespace scalevec::theory
