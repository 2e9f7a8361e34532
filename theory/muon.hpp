#pragma once

#include "theory/scale_invariance.hpp"

// Muon on an n × n matrix whose gradient is mostly noise of independent entries with standard deviation σ: its polar
// factor, to first order in the signal. Exact orthogonalisation and Gaussian noise; n → ∞ for the mean singular value.
// All throw std::domain_error naming the argument outside its domain. Source: ours.
namespace scalevec::theory {

// With N the matrix that is orthogonalised, (1 − μ)g + μm for Nesterov's momentum m ← μm + (1 − μ)g, of standard
// deviation τσ:
//   E polar(N + E) = aE/(τσ) by Stein's lemma, a = E‖N‖_*/(τσn²) = (8/3π)/√n;
//   τ² = (1 − μ²)² + μ⁴(1 − μ)/(1 + μ);
//   V = a²/τ² + (1/n − a²)(1 + 2Σ_k r_k³), the sum over all lags of an entry's autocovariance: that of its linear part,
//   whose autocorrelation r_k sums to 1/τ², and of the rest, taken as cubic in N.
struct MuonNoise {
  double gain = 0.0;      // a
  double spread = 0.0;    // τ
  double long_run = 0.0;  // V
};
// n ≥ 1, momentum μ in [0, 1).
MuonNoise muon_noise(double size, double momentum);

// Expected loss ½h‖W − W*‖² after `steps` = T steps whose learning rate falls linearly from lr to 0, from a distance
// ‖W₀ − W*‖_F, under noise well above the signal, with κ = ah/(τσ) and y = κ lr T:
//   ½hn²V lr² T ∫_0^1 u² e^{−yu²} du + ½h‖W₀ − W*‖² e^{−y}.
// For y ≫ 1 it is ½n²V (√π/4) (τσ/a)^{3/2} √(lr/(hT)), which grows with √lr, so that the least lr that arrives, 2‖W* −
// W₀‖₂/T, is best. Relative error ≤ 1e-12 against the formula; where `holds`, within 20 % of simulations.
double muon_linear_schedule_loss(double size, double momentum, double sigma, double curvature, double lr, double steps,
                                 double distance = 0.0);
Holds muon_linear_schedule_holds(double size, double momentum, double sigma, double curvature, double lr, double steps);

// Variance of the error over that of the orthogonalised noise at the lr where the error stops following the schedule,
// V/(2aτσ) √(lr τσh/(a steps)): the formula above holds where this is below 1. Beyond, Muon sees more signal than noise
// and its steps overshoot: the loss is larger.
double muon_error_to_noise(double size, double momentum, double sigma, double curvature, double lr, double steps);

// How a matrix of noise is orthogonalised. `gain`: a; `mean_square`: ρ, the mean squared singular value of the result,
// for which V = a²/τ² + (ρ/n − a²)(1 + 2Σ_k r_k³).
struct Orthogonalised {
  double gain = 0.0, mean_square = 1.0;
};
Orthogonalised polar_factor(double size);  // exact: (8/3π)/√n and 1
// Muon's five quintic steps (3.4445, −4.7750, 2.0315; Jordan et al., Muon 2024): a by Stein's lemma and ρ, means over
// 64 Gaussian n × n matrices (more below n = 12) by their singular values, seeded, standard errors below 1 %. n
// in 1 … 1024.
Orthogonalised quintic_steps(int size);
MuonNoise muon_noise(double size, double momentum, const Orthogonalised& by);

// The same of noise with `rows` × `columns` entries, both ≥ 1, by its limiting spectrum (Marchenko and Pastur): a =
// E[f s]/max and ρ = E f² over singular values s, f what orthogonalising makes of s. Within 3 % of drawn matrices from
// min(rows, columns) = 16 on. For a square matrix polar_factor(n), and quintic_steps(n) but for that.
Orthogonalised polar_spectrum(double rows, double columns);
Orthogonalised quintic_spectrum(double rows, double columns);

// A matrix before a norm (T9) under gradient noise alone and decoupled decay λ: ‖W‖² = ηn²V/(2λ), angle √(2ηλρ/(nV)).
// For large n: measured ‖W‖² is 5 % less at n = 16 and 11 % less at n = 8.
Rotation muon_rotation(double size, double momentum, double lr, double weight_decay);  // exact
Rotation muon_rotation(double size, double momentum, double lr, double weight_decay, const Orthogonalised& by);
// Whether the matrix is large and ηλ small against 1 − μ: then the angle is within 5 % and ‖W‖² within 10 % of
// simulations.
Holds muon_rotation_holds(double size, double momentum, double lr, double weight_decay);

}  // namespace scalevec::theory
