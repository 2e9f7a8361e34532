#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace scalevec::experiments {

// One number from the files of a finished run; NaN if they do not contain it. T2 to T9 are sections of docs/theory.md.
//   val_loss             final validation loss
//   seconds_per_step     training time of a step; with one CPU thread, the CPU time of the process
//   peak_memory          largest resident memory of the process, in bytes
//   gamma_w_correlation  correlation over channels j of γ_j² with ‖w_j‖² (T2), last step, mean over scales with readers
//   precond_min          min_j γ_j² (T2), last step, mean over the same scales
//   decay_balance        measured ‖w‖/γ over the predicted one; see below
//   rotation_ratio       rotation per step of matrices before a norm over AdamW's equilibrium √(2ηλ(1−β₁)/(1+β₁)) (T9),
//                        mean over matrices and the last half of the run
//   rotation_run_worst, rotation_run_mean
//                        exp of the largest, and of the mean, over the traced steps of |mean over matrices before a
//                        norm of ln(rotation/predicted_rotation)| (T11)
//   ratio_order, ratio_order_still, ratio_order_length
//                        Spearman's rank correlation over scales that maps read, at the last traced step, of ‖w‖/γ with
//                        T13's (run_prediction.hpp), with T13's were R = γ‖w‖ held at its start, and with R
//   ratio_level          exp of the mean over the same of |ln(measured/T13's)|
double run_metric(const std::filesystem::path& run, const std::string& name);

const std::vector<std::string>& run_metric_names();

// ‖w‖/γ at the last traced step, and its value in equilibrium, where AdamW's decays to 0 and the noise's pull on γ
// balance: λ_w‖w‖² − ½cη = λ_γγ‖w‖ with the measured γ (T4; theory/input_scale_decay.hpp, with w for its mean length);
// c is the number of rows that read the scale vector. For η → 0 this is λ_γ/λ_w. Both are geometric means over plain
// scale vectors that maps read. The run must be long compared with 1/(ηλ), at constant lr. NaN without decay on
// input-class scale vectors.
struct DecayBalance {
  double measured, predicted;
};
DecayBalance decay_balance(const std::filesystem::path& run);

}  // namespace scalevec::experiments
