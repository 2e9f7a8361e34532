#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "experiments/claims/plan.hpp"

namespace scalevec::experiments {

// The runs in the folder of a ledger; each is read once. A run that this process tried and that did not finish is
// `missing`, with the reason; one that nothing has tried is unknown (an empty outcome).
class RunStore {
 public:
  explicit RunStore(std::filesystem::path runs) : runs_(std::move(runs)) {}

  const std::filesystem::path& folder() const { return runs_; }
  std::optional<CellOutcome> outcome(const std::string& run) const;
  void note_failure(const std::string& run, const std::string& reason) { failed_[run] = reason; }
  Outcomes outcomes() const {
    return [this](const std::string& run) { return outcome(run); };
  }

 private:
  std::filesystem::path runs_;
  std::map<std::string, std::string> failed_;
  mutable std::map<std::string, CellOutcome> finished_;
};

}  // namespace scalevec::experiments
