#pragma once

#include <optional>
#include <span>
#include <vector>

namespace scalevec::theory {

// L(C) = E + A·C^{−α}: loss against compute, with what no compute removes (Hoffmann et al., arXiv 2203.15556, form and
// robust fit).
struct PowerLaw {
  double floor = 0.0;                 // E ≥ 0
  double log_factor = 0.0;            // ln A
  double exponent = 0.0;              // α > 0
  double loss(double compute) const;  // std::domain_error unless compute > 0
  // The compute at which loss() is `loss`; empty for a loss at or below E.
  std::optional<double> compute(double loss) const;
};

// What was measured of one ladder of sizes.
struct LossOverCompute {
  std::span<const double> compute, loss;
};

// Laws with one floor E in common and an A and an α each: those of variants trained on one text, of which the floor is
// a property. Least squares of ln L with Huber's weights (residuals above `huber` > 0 count linearly), by
// Levenberg-Marquardt from several starts. Each ladder needs three different computes and positive finite values, and
// all together a point more than unknowns (1 + 2 per ladder), else empty; also empty where no start converges to α in
// (0, 3) and laws that fall by 1e-6 over the given computes. With `near`, a law per ladder, from those alone: for the
// resamples of a bootstrap.
std::optional<std::vector<PowerLaw>> fit_power_laws(std::span<const LossOverCompute> ladders, double huber = 1e-3,
                                                    std::span<const PowerLaw> near = {});

}  // namespace scalevec::theory
