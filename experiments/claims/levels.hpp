#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/claims/claim.hpp"

// The first two levels of evidence: the figures of the theory, and a toy model trained by the library's optimizers.
// Both are stored in the folder of the ledger and not computed again.
namespace scalevec::experiments {

// Adds to a claim of gather(): "figures", drawn at quick quality into DIR/theory if they are not there yet ("problem":
// why there is none); "toy", trained by `run` if its result is not in DIR/toy yet, with both variants at their own best
// lr, chosen on half of the replicas and compared on the other half, or null; "levels", what each level says ("not
// available" where a figure is out of agreement); and "headline": the verdict of the language models, or that the
// levels disagree.
void add_levels(nlohmann::json& result, const Claim& claim, ToyRunner run, const std::filesystem::path& dir);

// Whether a figure of "figures" is there and its prediction agrees with its simulation.
bool agrees(const nlohmann::json& figure);

}  // namespace scalevec::experiments
