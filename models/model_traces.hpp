#pragma once

#include <map>
#include <string>
#include <vector>

#include "scalevec/models/model.hpp"
#include "scalevec/optim/core/traces.hpp"

namespace scalevec {

// The traces that follow from which maps read which scale. They are of the parameters before the step: take them with
// measure() before it, and merge them afterwards into the rows that the optimizer made in it.
class ModelTraces {
 public:
  // Reads every scale vector and every matrix that reads one. Sums are double precision.
  static ModelTraces measure(const Model& model);

  // Fills, in the row of each parameter concerned:
  // - of a scale γ, in the row of the parameter that is γ or holds its direction: gamma_quantiles of the γ in effect;
  // - of a scale that maps read, with w_j the column j of all its readers stacked (or the row, of a γ behind its map, T7):
  //   precond_min = min_j γ_j²,
  //   precond_max = max_j (γ_j² + ‖w_j‖²), imbalance = mean_j (γ_j² − ‖w_j‖²) (T2);
  // - of a matrix before a norm: directional_lr = η/‖p‖² under "sgd" and η/‖p‖ under every other method, whose step
  //   does not shrink with the gradient (T9); from the row's scheduled_lr, param_norm and method.
  void merge_into(std::vector<TraceRow>& rows) const;

 private:
  struct Scale {
    std::vector<double> quantiles;
    double precond_min = kNoTrace;
    double precond_max = kNoTrace;
    double imbalance = kNoTrace;
  };
  std::map<std::string, Scale> scales_;
  std::vector<std::string> before_norm_;
};

}  // namespace scalevec
