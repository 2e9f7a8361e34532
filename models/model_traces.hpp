#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "models/model.hpp"
#include "models/trace_row.hpp"

namespace scalevec::models {

// The traces that depend on which maps read which scale vector (docs/traces.md). They are of the parameters before the
// step: call measure() before it, and merge_into() afterwards with each row that the optimizer made in it.
class ModelTraces {
 public:
  // Keeps handles to the parameters of the model. The model may be trained further, but its device and dtype must not
  // change.
  explicit ModelTraces(const Model& model);

  // Reads every scale vector and every matrix that reads one. Sums are in double precision and do not depend on the
  // number of threads.
  void measure();

  // The same in three parts for a model on a device, of which only the last waits for it: what measure() reads, after
  // the step the values of γ, and then all of it as if it had been measured and stepped.
  struct Snapshot {
    torch::Tensor before, after;  // float64, on the device
  };
  Snapshot snapshot() const;
  void add_after(Snapshot& to) const;
  void load(const Snapshot& from);

  // Sets these traces in the row of a parameter that one of them concerns:
  // - For a scale vector γ, in the row of the parameter that is γ or contains its direction: gamma_quantiles of the γ
  // in effect, formed in double precision from the stored parameters, and its change since measure(): gamma_update_norm
  // = ‖Δγ‖, gamma_update_along = γ·Δγ/‖γ‖ (T8 in docs/theory.md).
  // - For a scale vector that maps read: precond_min = min_j γ_j², precond_max = max_j (γ_j² + ‖w_j‖²), imbalance =
  // mean_j (γ_j² − ‖w_j‖²) (T2), w_gamma_ratio = √(Σ‖w_j‖²/Σγ_j²) (T4), and gamma_w_correlation = the correlation over
  // j of γ_j² with ‖w_j‖². w_j is column j of all its readers, stacked, or row j for a γ behind its map (T7).
  // - For a matrix before a norm: directional_lr = η/‖p‖² under "sgd", and η/‖p‖ under every other method, whose step
  // does not shrink with the gradient (T9). It is computed from the row's scheduled_lr, param_norm and method.
  void merge_into(ModelTraceRow& row) const;

 private:
  struct Scale {
    ScaleVector form;
    std::int64_t size = 0;       // of γ
    std::int64_t block = 0;      // ScaleLink::block
    std::vector<double> before;  // γ_j as measured
    std::vector<double> after;   // γ_j after the step, where a snapshot was loaded
    std::vector<double> gamma,
        squares;  // γ_j, sorted in the end, and ‖w_j‖²; no squares where no matrix of γ's size reads it
    std::vector<double> quantiles;
    double precond_min = kNoTrace;
    double precond_max = kNoTrace;
    double imbalance = kNoTrace;
    double w_gamma_ratio = kNoTrace;
    double gamma_w_correlation = kNoTrace;
  };
  // Some rows of a matrix, whose squares it sums by column or by row.
  struct Part {
    torch::Tensor matrix;
    bool by_column = true;
    std::size_t first = 0;  // element of γ that the first sum belongs to
    std::int64_t begin = 0, end = 0;
    std::vector<double> sums;
  };

  void add_parts(const torch::Tensor& matrix, bool by_column, std::size_t scale, std::size_t first);
  static torch::Tensor squares_on_device(const Part& part);
  void sum_squares(Part& part) const;
  void finish(std::size_t scale);

  std::vector<Scale> scales_;
  std::vector<Part> parts_;
  std::vector<std::vector<std::size_t>> parts_of_;  // by scale
  std::unordered_map<std::string, std::size_t> scale_of_;
  std::unordered_set<std::string> before_norm_;
};

}  // namespace scalevec::models
