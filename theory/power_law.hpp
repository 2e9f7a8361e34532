#pragma once

#include <optional>
#include <span>

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

// Least squares of ln L with Huber's weights (residuals above `huber` > 0 count linearly), by Levenberg-Marquardt from
// several starts. At least four points with positive finite values and three different computes, else empty; also empty
// where no start converges to α in (0, 3) and a law that falls by 1e-6 over the given computes. With `near`, from that
// law alone: for the resamples of a bootstrap.
std::optional<PowerLaw> fit_power_law(std::span<const double> compute, std::span<const double> loss,
                                      double huber = 1e-3, const PowerLaw* near = nullptr);

}  // namespace scalevec::theory
