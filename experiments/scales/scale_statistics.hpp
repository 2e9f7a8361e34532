#pragma once

#include <cstdint>
#include <optional>
#include <vector>

// What `scalevec model scales` says of one scale vector γ and of the maps that read it. No LibTorch.
namespace scalevec::experiments {

// |γ_j| beyond so many medians of |γ| is an outlier; below this share of γ's root mean square it is near zero.
inline constexpr double kOutlierMedians = 4.0;
inline constexpr double kNearZero = 0.01;

// The p-quantile of sorted values, linearly between neighbours. 0 ≤ p ≤ 1, at least one value.
double sorted_quantile(const std::vector<double>& sorted, double p);

struct GammaStatistics {
  double mean = 0.0, rms = 0.0, least = 0.0, greatest = 0.0;
  double quantiles[5] = {};            // of |γ|, at 5, 25, 50, 75, 95 %
  double negative = 0.0;               // share of γ_j < 0
  double near_zero = 0.0;              // share of |γ_j| < kNearZero · RMS
  double participation = 0.0;          // (Σγ²)²/(d Σγ⁴): 1 where all are alike, 1/d where one has everything
  double from_one = 0.0;               // root mean square of γ − 1
  std::vector<std::int64_t> outliers;  // channels, ascending
};

// `gamma` has at least one element; all finite.
GammaStatistics gamma_statistics(const std::vector<double>& gamma);

// Of w_j, the column j of all maps that read γ_j, one below the other: c rows. What divides by a γ_j = 0 leaves it out.
struct ReaderStatistics {
  double rows = 0.0;                            // c
  double ratio = 0.0;                           // √(Σ‖w_j‖²/Σγ_j²)
  double trace_ratio = 0.0;                     // that over √c: 1 at T2's state of least trace, ‖w‖² = cγ²
  double channel[3] = {};                       // ‖w_j‖²/(cγ_j²), at 5, 50, 95 %
  double imbalance = 0.0;                       // mean of γ_j² − ‖w_j‖²
  std::optional<double> correlation;            // of γ_j² with ‖w_j‖² over j; none where one of them is constant
  double precond_min = 0.0, precond_max = 0.0;  // min γ_j², max (γ_j² + ‖w_j‖²)
  double spread = 0.0, folded_spread = 0.0;     // largest over median of ‖w_j‖, and of |γ_j|‖w_j‖
};

// `squares` are the ‖w_j‖², one per γ_j.
ReaderStatistics reader_statistics(const std::vector<double>& gamma, const std::vector<double>& squares, double rows);

// γ_q ⊙ γ_k by frequency pair (i, i + head_dim/2), which RoPE rotates into each other. Of several heads, query head h
// reads key head ⌊h · key heads/query heads⌋.
struct PairProducts {
  std::vector<double> rms;  // of the products of pair i, over its two elements and the heads
  double untied = 0.0;      // root mean square over pairs and heads of |ln(p_i/p_{i + head_dim/2})|, 0 where γ is tied
                            // in each pair (T1); pairs with a zero or of opposite signs are left out
  double opposite = 0.0;    // their share
};
PairProducts pair_products(const std::vector<double>& q, const std::vector<double>& k, std::int64_t head_dim);

}  // namespace scalevec::experiments
