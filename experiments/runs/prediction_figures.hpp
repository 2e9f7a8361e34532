#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/runs/curves.hpp"

namespace scalevec::experiments {

// What the theory said of the runs, over what they did: pictures, and for each pair of curves a sentence and its
// numbers.
struct PredictionReport {
  std::vector<Plot> plots;
  nlohmann::json numbers = nlohmann::json::array();
};

// Rotation and norm of each group of parameters (T11, T12); with `tensors` also of each matrix before a norm and each
// scale, ‖w‖²/(cγ²) (T13), the imbalance (T2), output-norm scales under decay (T5) and, where RUN/probe.json is
// (scalevec probe), the largest curvature with its limit (T14). Of the first run of each group; a run whose traces have
// no predictions is left out.
PredictionReport prediction_report(const std::vector<RunGroup>& groups, bool tensors);

}  // namespace scalevec::experiments
