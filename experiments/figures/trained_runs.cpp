#include "experiments/figures/trained_runs.hpp"

#include <optional>
#include <stdexcept>

namespace scalevec::experiments {
namespace {

std::optional<TrainedRuns> set_runs;

}  // namespace

void set_trained_runs(const TrainedRuns& runs) { set_runs = runs; }

const TrainedRuns& trained_runs() {
  if (!set_runs) throw std::logic_error("no trained runs were set");
  return *set_runs;
}

}  // namespace scalevec::experiments
