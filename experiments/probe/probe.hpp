#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "experiments/train/run_config.hpp"
#include "models/model.hpp"

// Measures what the records of a run do not contain: the curvature of its loss and the signal-to-noise ratio of its
// gradients, at a few points of the run. The run is repeated up to these points.
namespace scalevec::experiments {

// The loss of a model on fixed tokens as a function of some of its parameters, in float64.
class LossSurface {
 public:
  // `model` must be in float64; its parameters have their values again after each call. `names`: the parameters of the
  // function; empty: all.
  LossSurface(models::Model& model, torch::Tensor tokens, const std::vector<std::string>& names = {});

  std::size_t size() const { return size_; }
  double loss();
  std::vector<double> gradient();
  // H v by central differences of the gradient, (∇L(p + hv̂) − ∇L(p − hv̂))·‖v‖/2h with h = `step`: the fused operators
  // refuse gradients of gradients. Off by O(h²) and by rounding over h.
  void hessian_product(std::span<const double> v, std::span<double> out, double step = 1e-4);

 private:
  void move(std::span<const double> v, double factor);

  models::Model& model_;
  torch::Tensor tokens_;
  std::vector<torch::Tensor> params_;
  std::size_t size_ = 0;
};

struct ProbeOptions {
  std::vector<std::int64_t> steps;  // after how many steps to measure, rising
  std::int64_t gradients = 32;      // of as many batches
  std::int64_t rows = 32;           // validation sequences of the curvature's loss
  std::int64_t most_products = 30;
  // Called as the work goes on: what is being done, and the share of the whole that is done, in [0, 1].
  std::function<void(const std::string& what, double share)> progress;
  // Called with the hash of the data before anything is measured; may throw.
  std::function<void(const std::string& data_hash)> check_data;
};

// {"config", "data_hash": of what was measured, "points": [{"step", "sharpness": {"whole", SCALE: of the scale and the
// maps it is multiplied into, …}, "snr": {trace group: value}, "val_loss"}]}.
nlohmann::json probe(const RunConfig& config, const ProbeOptions& options);

}  // namespace scalevec::experiments
