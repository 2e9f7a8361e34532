#pragma once

#include "theory/holds.hpp"

// T10: loss curves of many independent modes with power-law curvatures h_j = j^−a and targets R_j = j^−b, from r = 0.
namespace scalevec::theory {

struct PowerLawModes {
  double a = 2.0;       // of the curvatures, > 0
  double b = 0.5;       // of the targets; a + 2b > 1, so that the loss is finite for any number of modes
  double modes = 1e6;   // N ≥ 1
  double target = 1.0;  // R₀ in (0, 1e140], a factor on every R_j
};

// All throw std::domain_error naming the argument outside its domain. t is flow time, lr × steps.

// ½Σ_j h_j R_j² e^{−2h_j t} without scale vectors, the sum replaced by its integral: (2t)^{−p}/(2a) [γ(p, 2t) − γ(p,
// 2tN^−a)] R₀², p = (a + 2b − 1)/a, γ the lower incomplete gamma function (Boost.Math). t > 0. Relative error of the
// integral ≤ 1e-12(1 + 1/p); against the sum within 1e-3 for 100 ≤ t ≪ N^a. Source: T10, ours.
double plain_spectrum_loss(const PowerLawModes& modes, double t);
Holds plain_spectrum_holds(const PowerLawModes& modes, double t);

// p = (a + 2b − 1)/a: the loss without scales falls as t^−p while 1 ≪ t ≪ N^a. With scales of imbalance 1 and b ≥ 0
// too. Source: T10, ours.
double plain_exponent(const PowerLawModes& modes);
// (a + 2b − 1)/(a + b): with scales of imbalance 1 and b < 0 (then the larger), or of imbalance 0 (a balance that decay
// keeps; slower for b > 0). Needs a + b > 0. Source: T10, ours.
double balanced_exponent(const PowerLawModes& modes);

// 1 − L_scale/L_none → C t^{−2b/a} for imbalance 1, b > 0, t large: C = R₀² 4 I_q 2^p/Γ(p), q = (a + 4b − 1)/a. Source:
// T10, ours; the factor R₀² by perturbation in R₀. Relative error ≤ 1e-12 against the formula, which is within 15 % of
// the sums for t ≥ 1e3 at a = 2, b = .5.
double scale_gain(const PowerLawModes& modes, double t);
Holds scale_gain_holds(const PowerLawModes& modes, double t);

// L_scale/L_none at b = 0 and imbalance 1 in the limit 1 ≪ t ≪ N^a, by quadrature over one mode's exact flow (T3).
// Relative error 1e-8; where `holds` within 2 % of the sums.
double flat_target_ratio(double target, double a);
Holds flat_target_holds(const PowerLawModes& modes, double t);

// The losses of the modes at t ≥ 0, with scale vectors of the given imbalance (at least 1e-140 of the largest target in
// size) or without: ½Σ_j h_j(R_j − r_j(t))² over ⌊N⌋ modes. The first 2048 (more where a is above 1), and the last
// where only those count any more, are summed one by one, the others by adaptive Gauss-Kronrod quadrature in log j
// (Boost.Math). Relative error ≤ 1e-8 at any t. Source: T10, ours.
double spectrum_loss_with_scales(const PowerLawModes& modes, double imbalance, double t);
double spectrum_loss_without(const PowerLawModes& modes, double t);

}  // namespace scalevec::theory
