#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "experiments/claims/claim.hpp"
#include "experiments/compare/analysis.hpp"

// Which runs a ledger needs, given the runs that exist. A run is named by what it trains, so that claims share it;
// above all the runs of the baseline, which every paired difference uses.
namespace scalevec::experiments {

// An arm of a claim at a tier, with its configuration.
struct PlannedArm {
  const Arm* arm = nullptr;
  nlohmann::json config;  // without lr and seed
  std::string folder;     // "plain-1a2b3c4d": the ledger's first name for this configuration, and its hash
};

// The folder of a run of an arm's inside runs/ of the ledger.
std::string run_name(const std::string& arm_folder, double lr, std::int64_t seed);

// The outcome of a run, by its name; empty as long as nothing has tried it.
using Outcomes = std::function<std::optional<CellOutcome>(const std::string& run)>;

// How the lr of an arm was chosen: on the tuning seeds, over a grid that is extended by its own step at an end where
// the best lr lies.
struct Tuning {
  enum class State {
    tunable,   // or tuned: the best lr, if it is known, has neighbours on both sides, finished or diverged
    at_edge,   // the best lr is the lowest or the highest that may be tried
    diverges,  // every lr has a diverged run
    failed     // a run is missing
  };
  std::string arm;                                      // the folder of the arm whose runs these are
  std::vector<LrPoint> curve;                           // in order of lr
  std::vector<std::pair<double, std::int64_t>> wanted;  // lr and seed of runs that nothing has tried
  std::optional<double> best;                           // set when no run is wanted and one has finished
  State state = State::tunable;
  std::string problem;  // in words, unless the state is tunable
};

class Plan {
 public:
  // `data_dir` replaces the data of the tier; empty: the tier's. Claims that times decide are left out, or the others
  // at the tier kTimesTier. Throws UsageError for an unknown claim, and for one that is left out and named.
  Plan(const Ledger& ledger, const std::string& tier, const std::vector<std::string>& ids, const std::string& data_dir);

  const std::vector<const Claim*>& claims() const { return claims_; }
  const PlannedArm& arm(const Claim& claim, const std::string& name) const;
  TierChoice choice(const Claim& claim) const { return ledger_.choice(claim, tier_); }
  std::vector<std::int64_t> comparison_seeds(const Claim& claim, const Contrast& contrast) const;
  // The seeds on which the lr of an arm is chosen.
  std::vector<std::int64_t> tuning_seeds(const Claim& claim, const std::string& arm) const;
  Tuning tuning(const Claim& claim, const std::string& arm, const Outcomes& outcomes) const;
  // The lr of an arm in a contrast; empty if it is not known yet, or cannot be.
  std::optional<double> lr(const Claim& claim, const Contrast& contrast, const std::string& arm, const Outcomes&) const;
  // Among several better arms, the one with the least loss on the tuning seeds at its own best lr.
  std::optional<std::string> better_arm(const Claim& claim, const Contrast& contrast, const Outcomes& outcomes) const;

  // The runs that can be named now and that nothing has tried: first for tuning, then for comparisons, seed by seed.
  // Empty when every planned run was tried.
  std::vector<Cell> wanted(const Outcomes& outcomes) const;

 private:
  Cell cell(const PlannedArm& arm, double lr, std::int64_t seed, bool tuning) const;
  std::vector<std::string> arms_of(const Claim& claim, const Contrast& contrast, const Outcomes& outcomes) const;

  const Ledger& ledger_;
  std::string tier_;
  std::vector<const Claim*> claims_;
  std::map<std::pair<std::string, std::string>, PlannedArm> arms_;  // by claim and arm
};

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
