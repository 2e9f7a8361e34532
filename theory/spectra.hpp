#pragma once

// T10: loss curves of many independent modes with power-law curvatures h_j = j^−a and targets R_j = j^−b, from r = 0.
namespace scalevec {

struct PowerLawModes {
  double a = 2.0;          // of the curvatures, > 0
  double b = 0.5;          // of the targets; a + 2b > 1, so that the loss is finite for any number of modes
  double modes = 1e6;      // N ≥ 1
  double target = 1.0;     // R₀ > 0, a factor on every R_j
};

// All throw std::domain_error naming the argument outside its domain.

// ½Σ_j h_j R_j² e^{−2h_j t} without scale vectors, the sum replaced by its integral: (2t)^{−p}/(2a) [γ(p, 2t) − γ(p, 2tN^−a)] R₀²,
// p = (a + 2b − 1)/a, γ the lower incomplete gamma function (Boost.Math); within 1e-3 for t ≥ 100 and 1 ≪ N. t > 0.
// Source: T10, ours.
double plain_spectrum_loss(const PowerLawModes& modes, double t);

// p = (a + 2b − 1)/a: the loss without scales falls as t^−p while 1 ≪ t ≪ N^a. With scales of imbalance 1 and b ≥ 0 too.
double plain_exponent(const PowerLawModes& modes);
// (a + 2b − 1)/(a + b): with scales of imbalance 1 and b < 0 (then the larger), or of imbalance 0 (a balance that decay
// keeps; slower for b > 0). Needs a + b > 0. Source: T10, ours.
double balanced_exponent(const PowerLawModes& modes);

// 1 − L_scale/L_none → C t^{−2b/a} for imbalance 1, b > 0, t large: C = R₀² 4 I_q 2^p/Γ(p), q = (a + 4b − 1)/a. Source: T10,
// ours; the factor R₀² by perturbation in R₀.
double scale_gain(const PowerLawModes& modes, double t);

// L_scale/L_none at b = 0 in the limit 1 ≪ t ≪ N^a, by quadrature over one mode's exact flow (T3). Relative error 1e-8.
double flat_target_ratio(double target, double a);

// The losses of the modes summed one by one (exactly to 64 modes, then in blocks of geometrically growing width, each by
// Gauss-Legendre quadrature in log j; relative error 1e-8): with scale vectors of the given imbalance, or without.
double spectrum_loss_with_scales(const PowerLawModes& modes, double imbalance, double t);
double spectrum_loss_without(const PowerLawModes& modes, double t);

}  // namespace scalevec
