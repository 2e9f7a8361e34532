#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

#include "experiments/claims/plan.hpp"

namespace scalevec::experiments {

// The runs that a ledger has: those in its folder, and results of runs made elsewhere or earlier, of which only small
// files are left. A run of which there is a result is not made again.
//
// The results of a text are one file, RESULTS/TEXT.json, with a checksum: {"kind": "results", "text", "data_hash",
// "made": [what many runs have in common], "runs": {run without its text: result}}. A result is {"status": done or
// diverged, "reason", "metrics": {every finite metric of the run}, and of its summary.json "parameters", "tokens",
// "seconds", "cpu_seconds", "threads", "machine", "git_commit", "versions", "data", "data_hash"}. A run that keeps
// checkpoints is not among them, since others go on from its folder.
class RunStore {
 public:
  // `results` may be empty (none are kept) or not exist yet.
  explicit RunStore(std::filesystem::path runs, std::filesystem::path results = {})
      : runs_(std::move(runs)), results_(std::move(results)) {}

  // Results of the text that were made on other data than these are refused by save() and from now on: UsageError.
  void expect_data(const std::string& text, const std::string& data_hash);

  const std::filesystem::path& folder() const { return runs_; }
  // A run that this process tried and that did not finish is `missing`, with the reason; one that nothing has tried is
  // unknown (empty).
  std::optional<CellOutcome> outcome(const std::string& run) const;
  // metrics.hpp's of a finished run; NaN if it has none of this name.
  double metric(const std::string& run, const std::string& name) const;
  // The result of a finished run; an empty object if there is none.
  const nlohmann::json& result(const std::string& run) const;
  void note_failure(const std::string& run, const std::string& reason) { failed_[run] = reason; }
  Outcomes outcomes() const {
    return [this](const std::string& run) { return outcome(run); };
  }

  // Adds the finished runs that were asked for to the results' files, beside what other ledgers wrote there. RunError.
  void save() const;

 private:
  using Results = std::map<std::string, nlohmann::json>;  // by run without its text
  Results& of_text(const std::string& text) const;
  Results read_results(const std::string& text) const;

  std::filesystem::path runs_, results_;
  std::map<std::string, std::string> failed_, data_;
  mutable std::map<std::string, Results> kept_;      // by text
  mutable std::map<std::string, CellOutcome> read_;  // of finished runs
  mutable std::set<std::string> changed_;            // texts whose file is behind
};

}  // namespace scalevec::experiments
