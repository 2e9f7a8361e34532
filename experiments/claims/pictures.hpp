#pragma once

#include <vector>

#include "experiments/claims/results.hpp"
#include "experiments/plot/forest.hpp"
#include "experiments/plot/plot.hpp"

namespace scalevec::experiments {

// The interval of every contrast, with gain 0, the smallest effect of interest and a dot for each seed. Contrasts may
// have different units, so each has its own scale.
Forest claim_forest(const ClaimResult& result);

// For the language models of a claim: loss against lr on the tuning seeds, and validation loss during training.
std::vector<Plot> run_plots(const ClaimResult& result);
// Their traces: imbalance, ‖w‖/γ, the share of each group in the predicted decrease, and curvature if it was measured.
std::vector<Plot> mechanism_plots(const ClaimResult& result, const nlohmann::json& mechanism);
Plot toy_plot(const Claim& claim, const ToyEvidence& toy);
// For a ladder: points and fitted laws; empty panels if there is no ladder.
Plot ladder_plot(const ClaimResult& result);

}  // namespace scalevec::experiments
