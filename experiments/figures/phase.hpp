#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "experiments/figures/series.hpp"
#include "theory/simulate/scaled_map.hpp"

// What the phase diagrams share: the measure of a design over a grid of learning rates, and how far a boundary is
// right.
namespace scalevec::experiments {

// The panel of a phase diagram.
inline Panel phase_panel(std::string title, std::string x_label, std::string y_label, std::string color_label,
                         double color_limit, Log log = Log::both) {
  Panel out = panel(std::move(title), std::move(x_label), std::move(y_label), log, kKeyBelow);
  out.color_label = std::move(color_label);
  out.color_limit = color_limit;
  return out;
}

// A replica of common noise k under Adam, β₂ = .99, with a cosine, loss of curvature 1.
inline theory::MapReplica cosine_replica(double lr, std::int64_t steps, double sigma, std::int64_t k) {
  theory::MapReplica r;
  r.h = {1.0};
  r.sigma = sigma;
  r.weights.lr = lr;
  r.weights.beta2 = 0.99;
  r.weights.schedule.shape = Schedule::Shape::cosine;
  r.weights.schedule.total_steps = steps;
  r.scales = r.weights;
  r.noise = static_cast<std::uint64_t>(k);
  return r;
}

// Mean logarithm of the final loss by learning rate, over replicas that differ in noise and, as `make(lr, replica)`
// says, in their problem. A design that diverges in one replica has an infinite one.
template <class Make>
std::vector<double> mean_log_losses(const theory::SimulatedMap& map, const std::vector<double>& rates,
                                    std::int64_t replicas, const theory::MapOptions& options, const Make& make) {
  std::vector<theory::MapReplica> all;
  for (const double lr : rates)
    for (std::int64_t k = 0; k < replicas; ++k) all.push_back(make(lr, k));
  const std::vector<theory::MapResult> results = theory::simulate_scaled_map(map, all, options);
  std::vector<double> means;
  for (std::size_t at = 0; at < results.size(); at += static_cast<std::size_t>(replicas)) {
    double sum = 0.0;
    for (std::int64_t k = 0; k < replicas; ++k) sum += std::log(results[at + static_cast<std::size_t>(k)].loss);
    means.push_back(sum / static_cast<double>(replicas));
  }
  return means;
}

// Steps until `hold` losses in a row are at or below each replica's goal; infinite where never within `most`. Replicas
// of like `pace` (how fast each is, in any unit) share a block, which runs until its last one arrives.
inline std::vector<double> arrivals(const theory::SimulatedMap& map, const std::vector<theory::MapReplica>& replicas,
                                    const std::vector<double>& pace, std::int64_t hold, std::int64_t most) {
  std::vector<std::size_t> order(replicas.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return pace[a] < pace[b]; });
  std::vector<theory::MapReplica> sorted;
  for (const std::size_t i : order) sorted.push_back(replicas[i]);
  theory::MapOptions options;
  options.steps = most;
  options.until_arrival = true;
  options.hold = std::min(hold, most);
  const std::vector<theory::MapResult> results = theory::simulate_scaled_map(map, sorted, options);
  std::vector<double> steps(replicas.size());
  for (std::size_t k = 0; k < order.size(); ++k) steps[order[k]] = results[k].arrival;
  return steps;
}

// The same of one problem at each learning rate in place of r's.
inline std::vector<double> arrivals(const theory::SimulatedMap& map, theory::MapReplica r,
                                    const std::vector<double>& rates, std::int64_t hold, std::int64_t most) {
  std::vector<theory::MapReplica> replicas;
  for (const double lr : rates) {
    r.weights.lr = r.scales.lr = lr;
    replicas.push_back(r);
  }
  return arrivals(map, replicas, rates, hold, most);
}

inline double least(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }

// Cells whose measured sign differs from the predicted one, where the prediction's size is above a margin.
struct SignCount {
  std::int64_t wrong = 0, counted = 0;

  void add(double measured, double predicted, double margin) {
    if (std::isnan(measured) || !(std::abs(predicted) > margin)) return;
    ++counted;
    wrong += (measured > 0.0) != (predicted > 0.0);
  }
  double share() const { return static_cast<double>(wrong) / static_cast<double>(counted); }
};

inline std::vector<double> clamped(std::vector<double> values, double limit) {
  for (double& v : values) v = std::clamp(v, -limit, limit);
  return values;
}

// Draws a field that was measured on xs × ys into a panel, its colours limited to the panel's.
inline void add_measured(Panel& panel, const std::vector<double>& xs, const std::vector<double>& ys,
                         const std::vector<double>& field) {
  panel.series = phase_diagram(xs, ys, clamped(field, panel.color_limit), panel.log_x, panel.log_y);
}

// The line along which a predicted field is 0, drawn over the measured one.
inline void add_predicted(Panel& panel, const std::vector<double>& xs, const std::vector<double>& ys,
                          const std::vector<double>& field, const std::string& label) {
  Series line = phase_diagram(xs, ys, field, panel.log_x, panel.log_y)[1];
  line.label = label;
  line.color = 2;
  panel.series.push_back(line);
}

}  // namespace scalevec::experiments
