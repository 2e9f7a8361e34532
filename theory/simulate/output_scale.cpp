#include "theory/simulate/output_scale.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "optim/core/random.hpp"

namespace scalevec::theory {
namespace {

constexpr std::uint64_t kNoiseStream = stream_of("toy.noise");
// Replicas simulated together: the state of some fifty cells stays in the second-level cache.
constexpr std::int64_t kBlock = 512;

std::string toy_error(const OutputScaleToy& toy) {
  if (!(std::isfinite(toy.h) && toy.h > 0.0)) return "h must be finite and > 0";
  if (!std::isfinite(toy.target)) return "target must be finite";
  if (!(std::isfinite(toy.sigma) && toy.sigma >= 0.0)) return "sigma must be finite and >= 0";
  if (!std::isfinite(toy.gamma0)) return "gamma0 must be finite";
  return "";
}

void refuse(const std::string& why) {
  if (!why.empty()) throw std::invalid_argument("output-scale simulation: " + why);
}

// One cell's share of a block of replicas.
struct Replicas {
  Replicas(const OutputScaleCell& cell, std::size_t size)
      : toy(cell.toy), optimizer(cell.rule, size), gamma(size, cell.toy.gamma0), window(size) {}

  void step(const std::vector<double>& noise, std::vector<double>& grad, StepSums* sums) {
    const OutputScaleToy t = toy;
    for (std::size_t i = 0; i < gamma.size(); ++i) grad[i] = t.h * (gamma[i] - t.target) + t.sigma * noise[i];
    optimizer.step(gamma.data(), grad.data(), sums);
  }

  OutputScaleToy toy;
  BatchOptimizer optimizer;
  std::vector<double> gamma, window;  // window: Σγ over the averaging window
};

void summarise(OutputScaleResult& result, const std::vector<double>& means) {
  const double n = static_cast<double>(means.size());
  double sum = 0.0, squares = 0.0;
  for (const double m : means) sum += m;
  result.gamma_mean = sum / n;
  for (const double m : means) squares += (m - result.gamma_mean) * (m - result.gamma_mean);
  result.gamma_stderr =
      means.size() > 1 ? std::sqrt(squares / (n - 1.0) / n) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

std::string SimulationOptions::error() const {
  if (steps < 1) return "steps must be >= 1";
  if (replicas < 1) return "replicas must be >= 1";
  if (average_steps < 1 || average_steps > steps) return "average_steps must be in 1..steps";
  for (std::size_t i = 0; i < trace_steps.size(); ++i) {
    if (trace_steps[i] < 0 || trace_steps[i] >= steps) return "trace_steps must be in 0..steps-1";
    if (i > 0 && trace_steps[i] <= trace_steps[i - 1]) return "trace_steps must be ascending";
  }
  return "";
}

std::vector<OutputScaleResult> simulate_output_scale(std::span<const OutputScaleCell> cells,
                                                     const SimulationOptions& options) {
  refuse(options.error());
  for (const OutputScaleCell& cell : cells) {
    refuse(toy_error(cell.toy));
    refuse(cell.rule.error());
  }
  const std::size_t traced = options.trace_steps.size();
  std::vector<OutputScaleResult> results(cells.size());
  std::vector<std::vector<double>> means(cells.size());
  std::vector<std::vector<StepSums>> sums(cells.size(), std::vector<StepSums>(traced));

  for (std::int64_t start = 0; start < options.replicas; start += kBlock) {
    const auto size = static_cast<std::size_t>(std::min(kBlock, options.replicas - start));
    std::vector<Replicas> blocks;
    for (const OutputScaleCell& cell : cells) blocks.emplace_back(cell, size);
    std::vector<double> noise(size), grad(size);
    std::size_t next_trace = 0;
    for (std::int64_t step = 0; step < options.steps; ++step) {
      for (std::size_t i = 0; i < size; ++i)
        noise[i] = random_normal(options.seed, kNoiseStream + static_cast<std::uint64_t>(start) + i,
                                 static_cast<std::uint64_t>(step));
      const bool trace = next_trace < traced && options.trace_steps[next_trace] == step;
      const bool average = step >= options.steps - options.average_steps;
      for (std::size_t c = 0; c < blocks.size(); ++c) {
        blocks[c].step(noise, grad, trace ? &sums[c][next_trace] : nullptr);
        if (average)
          for (std::size_t i = 0; i < size; ++i) blocks[c].window[i] += blocks[c].gamma[i];
      }
      if (trace) ++next_trace;
    }
    for (std::size_t c = 0; c < blocks.size(); ++c) {
      for (const double w : blocks[c].window) means[c].push_back(w / static_cast<double>(options.average_steps));
      auto& final_gamma = results[c].final_gamma;
      final_gamma.insert(final_gamma.end(), blocks[c].gamma.begin(), blocks[c].gamma.end());
    }
  }

  for (std::size_t c = 0; c < cells.size(); ++c) {
    summarise(results[c], means[c]);
    const SimulatedRule& rule = cells[c].rule;
    for (std::size_t k = 0; k < traced; ++k) {
      results[c].traces.push_back(simulated_trace("gamma", "scale.output", rule.method,
                                                  rule.lr * rule.schedule.factor(options.trace_steps[k]), sums[c][k]));
    }
  }
  return results;
}

OutputScaleResult simulate_output_scale(const OutputScaleCell& cell, const SimulationOptions& options) {
  return simulate_output_scale(std::span(&cell, 1), options).front();
}

}  // namespace scalevec::theory
