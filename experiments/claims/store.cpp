#include "experiments/claims/store.hpp"

#include <limits>

namespace scalevec::experiments {

std::optional<CellOutcome> RunStore::outcome(const std::string& run) const {
  if (const auto it = finished_.find(run); it != finished_.end()) return it->second;
  if (std::filesystem::exists(runs_ / run / "summary.json")) {
    const CellOutcome read = read_outcome(runs_ / run);
    if (read.state != CellOutcome::State::missing) return finished_[run] = read;
  }
  const auto it = failed_.find(run);
  if (it == failed_.end()) return std::nullopt;
  return CellOutcome{CellOutcome::State::missing, std::numeric_limits<double>::quiet_NaN(), it->second, {}};
}

}  // namespace scalevec::experiments
