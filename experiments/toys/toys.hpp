#pragma once

#include "experiments/claims/claim.hpp"
#include "experiments/figures/trained_runs.hpp"

// The toys of figures and claims as LibTorch modules, trained by the library's optimizers.
namespace scalevec::experiments {

theory::OutputScaleResult run_toy_with_torch(const theory::OutputScaleCell& cell,
                                             const theory::SimulationOptions& options);
double toy_excess_with_torch(const nlohmann::json& config);
std::vector<std::vector<TraceRow>> toy_traces_with_torch(const nlohmann::json& config, std::int64_t first,
                                                         std::int64_t every);
double fold_gap(std::int64_t layers, std::int64_t width, double least, double largest, bool float64,
                std::uint64_t seed);

// Of what figures ask.
inline constexpr TrainedRuns kTrainedRuns{run_toy_with_torch, toy_excess_with_torch, toy_traces_with_torch, fold_gap};

// The only ToyRunner. Throws ConfigError if the problem cannot be read.
nlohmann::json run_claim_toy(const ToyClaim& toy);

}  // namespace scalevec::experiments
