#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "experiments/record/run_trace.hpp"
#include "optim/core/schedule.hpp"
#include "theory/moving_rotation.hpp"

// What the theory says of a run before it is made, from its resolved configuration, its policy and its initial norms:
// nothing is fitted, and nothing that the run measures enters but where it is said.
namespace scalevec::experiments {

// The schedule of a resolved configuration. Throws json's exceptions where it is none.
Schedule schedule_of(const nlohmann::json& config);

// Rate and decay of a parameter of the policy (a row of policy.json) at step t, from 0.
theory::StepRate rate_of(const nlohmann::json& row, const Schedule& schedule, std::int64_t step);

// T11's and T12's lengths and angles of every parameter whose update's size its method sets and its gradient does not:
// AdamW, Adam, Lion and Muon (momentum with Nesterov's step, five quintic steps or more of "polar_express"), decay not
// in the gradient and toward 0, a norm above 0. What noise alone would do: of a matrix before a norm with the
// derivation behind it, of others while their gradient is noise. Of a group whose members all have one, the tensors
// side by side.
class RunPrediction {
 public:
  RunPrediction(const nlohmann::json& config, const nlohmann::json& policy);

  // Rotation in step number `step`, from 1, and norm before it; NaN where none is defined.
  struct Value {
    double rotation = kNoTrace, norm = kNoTrace;
  };
  // Goes to the step, which is not before the last one asked for.
  void go_to(std::int64_t step);
  Value of(const std::string& parameter) const;
  Value of_group(const std::string& group) const;
  bool empty() const { return params_.empty(); }

  // Fills predicted_rotation and predicted_norm of the step's rows.
  void merge_into(std::int64_t step, std::vector<RunTraceRow>& params, std::vector<RunTraceRow>& groups);

 private:
  struct Param {
    std::string name, group;
    double lr = 0.0, weight_decay = 0.0;
    DecayCoupling coupling = DecayCoupling::lr;
    theory::RotationWalk walk;
    theory::RotationWalk::Move move;  // of the step asked for
  };
  theory::StepRate rate(const Param& param, std::int64_t step) const;

  Schedule schedule_;
  std::int64_t steps_ = 0;  // that the walks have made
  std::vector<Param> params_;
  std::map<std::string, std::size_t> index_;
  std::map<std::string, bool> whole_;  // group: whether every member has a prediction
};

// The update's moments under noise of a row of policy.json; empty where none is known.
std::optional<theory::UpdateNoise> update_noise_of(const nlohmann::json& row);

// The columns' ratio ‖w‖/γ of a scale and its readers over a run under AdamW (T13), from the first traced step on, with
// R = γ‖w‖ as the traces have it: what noise, decay and the growth of R say the ratio is. `imbalance` is T2's and
// T11's: mean_j (γ_j² − ‖w_j‖²) under noise and decay alone.
struct RatioPrediction {
  std::string scale;
  double rows = 0.0;  // c
  std::vector<double> step, measured, predicted;
  std::vector<double> length;  // R
  std::vector<double> still;   // predicted with R held at its start
  std::vector<double> imbalance_step, imbalance, predicted_imbalance;
  std::vector<double> size;  // γ² + ‖w‖² at imbalance_step
};
// Of every plain scale that maps read, in the policy's order; `predicted` is empty where one of them is not under AdamW
// with decay toward 0 outside the gradient.
std::vector<RatioPrediction> ratio_predictions(const nlohmann::json& config, const nlohmann::json& policy,
                                               const std::vector<nlohmann::json>& traces);

// Where two curves over steps part: the first step from which |ln(measured/predicted)| is above ln(1 + tolerance) at
// two traced steps one after the other (or at the last), the largest such difference, and what is left of it at the
// end.
struct Parting {
  std::size_t points = 0, within = 0;         // compared, and of them within the tolerance
  double from = kNoTrace;                     // step; NaN: they don't part
  double worst = 0.0, worst_step = kNoTrace;  // ln(measured/predicted)
  double last = kNoTrace;
};
Parting parting(const std::vector<double>& step, const std::vector<double>& measured,
                const std::vector<double>& predicted, double tolerance = 0.1);
// "within 10 % at 51 of 51 traced steps; furthest off at step 3: 5 % below", "parts at step 120; furthest off at step
// 400: 35 % above; at the end: …".
std::string parting_words(const Parting& p, double tolerance = 0.1);

}  // namespace scalevec::experiments
