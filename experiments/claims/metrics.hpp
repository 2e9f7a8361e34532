#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace scalevec {

// What a finished run's files say, as one number; NaN where they don't say it.
//   val_loss            final validation loss
//   seconds_per_step    training time of a step
//   peak_memory         bytes, the largest resident size of the run's process
//   gamma_w_correlation correlation over channels j of γ_j² with ‖w_j‖² (T2), mean over the scales that maps read, last
//   step precond_min         min_j γ_j² (T2), mean over the same, last step rotation_ratio      rotation per step of
//   matrices before a norm over AdamW's equilibrium √(2ηλ(1−β₁)/(1+β₁)) (T9), mean
//                       over matrices and the last half of the run
double run_metric(const std::filesystem::path& run, const std::string& name);

const std::vector<std::string>& run_metric_names();

}  // namespace scalevec
