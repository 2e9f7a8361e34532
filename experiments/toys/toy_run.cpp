#include "experiments/toys/toys.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "experiments/errors.hpp"
#include "experiments/train/session.hpp"

namespace scalevec::experiments {

theory::OutputScaleResult run_toy_with_torch(const theory::OutputScaleCell& cell, const theory::SimulationOptions& o) {
  const theory::SimulatedRule& by = cell.rule;
  nlohmann::json rule = {{"match", nlohmann::json::object()},
                         {"method", theory::to_string(by.method)},
                         {"weight_decay", by.weight_decay},
                         {"decay_coupling", to_string(by.coupling)},
                         {"decay_target", by.decay_target}};
  // Those of the method's own options that the rule states.
  const std::pair<const char*, double> stated[] = {
      {"beta1", by.beta1}, {"beta2", by.beta2}, {"eps", by.eps}, {"momentum", by.momentum}};
  for (const Option& field : make_method_options(std::string(theory::to_string(by.method)))->fields())
    for (const auto& [name, value] : stated)
      if (field.key == name) rule[name] = value;
  Session session(read_run_config({{"model",
                                    {{"type", "output_scale"},
                                     {"replicas", o.replicas},
                                     {"curvature", cell.toy.h},
                                     {"target", cell.toy.target},
                                     {"sigma", cell.toy.sigma},
                                     {"initial", cell.toy.gamma0}}},
                                   {"seed", o.seed},
                                   {"device", "cpu"},
                                   {"steps", o.steps},
                                   {"optimizer", {{"lr", by.lr}, {"rules", nlohmann::json::array({rule})}}}}));
  theory::OutputScaleResult result;
  std::vector<double> sum(static_cast<size_t>(o.replicas), 0.0);
  const double* gamma = session.params().at(0).tensor.data_ptr<double>();
  for (std::int64_t step = 0; step < o.steps; ++step) {
    const bool trace = std::find(o.trace_steps.begin(), o.trace_steps.end(), step) != o.trace_steps.end();
    StepResult made = session.step(trace);
    if (step + o.average_steps >= o.steps)
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += gamma[i];
    if (trace) result.traces.push_back(std::move(made.params.at(0)));
  }
  const double n = static_cast<double>(o.replicas);
  double mean = 0.0, square = 0.0;
  for (double& s : sum) {
    s /= static_cast<double>(std::min(o.average_steps, o.steps));
    mean += s / n;
  }
  for (const double s : sum) square += (s - mean) * (s - mean);
  result.gamma_mean = mean;
  result.gamma_stderr = o.replicas > 1 ? std::sqrt(square / (n - 1.0) / n) : 0.0;
  result.final_gamma.assign(gamma, gamma + o.replicas);
  return result;
}

namespace {

// A toy's tensors are too small for threads to share, and a figure may train several toys at a time.
struct OneThread {
  const int before = at::get_num_threads();
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before); }
};

}  // namespace

double toy_excess_with_torch(const nlohmann::json& config) {
  const OneThread guard;
  Session session(read_run_config(config));
  try {
    for (std::int64_t steps = session.config().steps; steps > 0; --steps) session.step(false);
  } catch (const Divergence&) {
    return INFINITY;
  }
  const double excess = session.validate();
  return std::isnan(excess) ? INFINITY : excess;
}

std::vector<std::vector<TraceRow>> toy_traces_with_torch(const nlohmann::json& config, std::int64_t first,
                                                         std::int64_t every) {
  const OneThread guard;
  Session session(read_run_config(config));
  std::vector<std::vector<TraceRow>> rows(session.params().size());
  try {
    for (std::int64_t step = 0; step < session.config().steps; ++step) {
      const bool trace = step >= first && (step - first) % every == 0;
      StepResult made = session.step(trace);
      if (!trace) continue;
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i].push_back(std::move(made.params.at(i)));
    }
  } catch (const Divergence& d) {
    throw RunError(d.reason);
  }
  return rows;
}

}  // namespace scalevec::experiments
