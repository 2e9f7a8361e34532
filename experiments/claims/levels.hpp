#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/claims/plan.hpp"
#include "experiments/claims/run_store.hpp"

// The first two levels of evidence: the figures of the theory, and a toy model trained by the library's optimizers.
// Both are stored in the folder of the ledger and not computed again.
namespace scalevec::experiments {

// Adds to a claim of gather(): "figures", drawn at quick quality into DIR/theory if they are not there yet ("problem":
// why there is none); "toy", trained by `run` if its result is not in DIR/toy yet, with both variants at their own best
// lr, chosen on half of the replicas and compared on the other half, or null; "levels", what each level says ("not
// available" where a figure is out of agreement); and, if the levels disagree, "headline", which says so.
void add_levels(nlohmann::json& result, const Claim& claim, ToyRunner run, const std::filesystem::path& dir);

// The third level's own traces against the theory, "mechanism" in claims.json.
// Per variant of the claim, of its first comparison seed at its own best lr: from the run's traces
//   steps, imbalance, w_gamma_ratio, precond_min, gamma_w_correlation (means over the scales that maps read);
//   decrease: share of the predicted loss decrease by group, summed over the traced steps;
//   snr: signal-to-noise ratio of the gradients by group, mean over the traced steps, and amplification: T8's at that
//   of the input-norm scales, of vectors as long as the model is wide;
//   magnitude_step: how far a step moves the magnitude of an input-norm scale over the lr, root mean square over the
//   traced steps, and the scales' lengths;
//   amplification_measured: magnitude_step over the claim's baseline's, of scales of the same lengths (T8 predicts
//   OR's);
// and for the variants that the claim names under "probe", the measured curvature and signal-to-noise ratio at four
// points. Null where the run is not there.
nlohmann::json mechanism(const Plan& plan, const Claim& claim, const RunStore& store,
                         const std::filesystem::path& probes, const std::string& program);

// Whether a figure of "figures" is there and its prediction agrees with its simulation.
bool agrees(const nlohmann::json& figure);

}  // namespace scalevec::experiments
