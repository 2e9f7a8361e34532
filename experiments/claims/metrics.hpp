#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace scalevec {

// What a finished run's files say, as one number; NaN where they don't say it.
//   val_loss             final validation loss
//   seconds_per_step     training time of a step; on one CPU thread by the process's own clock, which others' work on the machine
//                        does not move
//   peak_memory          bytes, the largest resident size of the run's process
//   gamma_w_correlation  correlation over channels j of γ_j² with ‖w_j‖² (T2), mean over the scales that maps read, last step
//   precond_min          min_j γ_j² (T2), mean over the same, last step
//   decay_balance        ‖w‖/γ over λ_γ/λ_w, which AdamW's equilibrium makes it (T4), geometric mean over the same, last step;
//                        NaN without decay on input-norm scales
//   rotation_ratio       rotation per step of matrices before a norm over AdamW's equilibrium √(2ηλ(1−β₁)/(1+β₁)) (T9), mean
//                        over matrices and the last half of the run
double run_metric(const std::filesystem::path& run, const std::string& name);

const std::vector<std::string>& run_metric_names();

// λ_γ/λ_w: decay of input-norm scales over that of matrices; NaN without decay on the scales.
double decay_ratio(const std::filesystem::path& run);

}  // namespace scalevec
