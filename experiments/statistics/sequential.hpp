#pragma once

#include <span>
#include <vector>

// Tests that are looked at several times while data come in.
namespace scalevec::experiments {

// The two-sided error that a test of level `alpha` may have spent at the part `fraction` of its largest sample, by the
// spending function of O'Brien and Fleming's type (Lan and DeMets, Biometrika 70, 1983): each side spends
// 2 − 2Φ(z(α/4)/√fraction), and α/2 at fraction 1. fraction in [0, 1], alpha in (0, 1).
double spent_error(double fraction, double alpha);

// The boundaries |z| of looks at these parts of the largest sample, rising and at most 1, such that the mean of
// independent normal values without an effect crosses one of the first k with probability spent_error(fractions[k]).
// By recursive integration over the values that have not crossed (Armitage, McPherson and Rowe, JRSS A 132, 1969).
// Throws std::invalid_argument for fractions that do not rise within (0, 1] or an alpha outside (0, 1).
std::vector<double> spending_boundaries(std::span<const double> fractions, double alpha);

// The level of each look as a two-sided p: 2 − 2Φ(boundary). An interval of Student's t at confidence 1 − level is a
// repeated confidence interval: all of them cover at once with probability 1 − alpha, whatever decides when to stop.
// That is exact for a known variance; with the t it is checked by simulation.
std::vector<double> spending_levels(std::span<const double> fractions, double alpha);

// |z| of a two-sided level, the inverse of 2 − 2Φ(z). level in (0, 1).
double two_sided_quantile(double level);

}  // namespace scalevec::experiments
