#pragma once

#include <vector>

#include "scalevec/experiments/claims/results.hpp"
#include "scalevec/experiments/plot/forest.hpp"
#include "scalevec/experiments/plot/plot.hpp"

namespace scalevec {

// Every contrast's interval, gain 0 and the smallest effect of interest, each seed a dot. Contrasts may differ in unit,
// so that each has a scale of its own.
Forest claim_forest(const ClaimResult& result);

// Of a claim's language models: loss against lr on the tuning seeds, and the validation loss in the course of training.
std::vector<Plot> run_plots(const ClaimResult& result);
// Its traces: imbalance, ‖w‖/γ, the share of the predicted decrease by group, and curvature where it was measured.
std::vector<Plot> mechanism_plots(const ClaimResult& result, const nlohmann::json& mechanism);
Plot toy_plot(const Claim& claim, const ToyEvidence& toy);
// Of a ladder: points and fitted laws; empty panels without one.
Plot ladder_plot(const ClaimResult& result);

}  // namespace scalevec
