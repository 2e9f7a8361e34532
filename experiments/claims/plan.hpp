#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "experiments/claims/claim.hpp"
#include "experiments/compare/analysis.hpp"
#include "experiments/statistics/vertex.hpp"

// Which runs a ledger needs, given the runs that exist. A run is named by what it trains, so that claims share it;
// above all the runs of the baseline, which every paired difference uses.
namespace scalevec::experiments {

// What the runs are trained on. Their names and hashes say its name, not where it lies on this machine.
struct Text {
  std::string name = "synthetic";
  std::string dir;              // folder of tokens; empty: the data of the tier's base
  std::int64_t vocab_size = 0;  // of its tokenizer; 0: the base's
};

// A variant of a claim at a tier, with its configuration.
struct PlannedVariant {
  const Variant* variant = nullptr;
  nlohmann::json config;  // without lr and seed
  std::string hash;       // of it, with the name of the text for its folder
  std::string folder;     // "english/plain-1a2b3c4d": the ledger's first name for this configuration, and its hash
  std::int64_t trunk_step = 0;  // of a variant with a trunk: the step of the trunk's run that it goes on from
};

// model.width of a configuration; NaN if it says none.
double width_of(const nlohmann::json& config);

// The folder of a run of a variant's inside runs/ of the ledger.
std::string run_name(const std::string& variant_folder, double lr, std::int64_t seed);

// The outcome of a run, by its name; empty as long as nothing has tried it.
using Outcomes = std::function<std::optional<CellOutcome>(const std::string& run)>;

// How the lr of a variant was chosen: the vertex of the fit through its runs on the tuning seeds, rounded to three
// digits. As long as it lies outside the lrs that the fit uses, or there is no minimum, an lr is added on that side:
// beyond the grid by its own step, or half-way (in log lr) to the next lr, where that one diverged or did not fit.
struct Tuning {
  enum class State {
    tunable,   // or tuned
    at_edge,   // the vertex lies outside what may be tried
    diverges,  // every lr has a diverged run
    failed     // a run is missing
  };
  std::string variant;                                  // the folder of the variant whose runs these are
  std::vector<LrPoint> curve;                           // in order of lr
  std::vector<std::pair<double, std::int64_t>> wanted;  // lr and seed of runs that nothing has tried
  std::optional<double> best;                           // set when no run is wanted and the vertex is inside
  std::optional<VertexFit> fit;  // of a variant with more than one lr, or a law; once it can be fitted
  State state = State::tunable;
  std::string problem;  // in words, unless the state is tunable
};

class Plan {
 public:
  // The claims of the ledger that run on the text at the tier, or those of them that `ids` name. Throws UsageError for
  // an unknown claim, and for one that does not run at the tier.
  Plan(const Ledger& ledger, const std::string& tier, const std::vector<std::string>& ids, const Text& text);

  const std::string& tier() const { return tier_; }
  const Text& text() const { return text_; }
  const Ledger& ledger() const { return ledger_; }

  const std::vector<const Claim*>& claims() const { return claims_; }
  const PlannedVariant& variant(const Claim& claim, const std::string& name) const;
  TierChoice choice(const Claim& claim) const { return ledger_.choice(claim, tier_); }
  // The pairs at each look at a contrast, rising.
  std::vector<std::int64_t> looks(const Claim& claim, const Contrast& contrast) const;
  // The seeds on which the lr of a variant is chosen.
  std::vector<std::int64_t> tuning_seeds(const Claim& claim, const std::string& variant) const;
  Tuning tuning(const Claim& claim, const std::string& variant, const Outcomes& outcomes) const;
  // The lr of a variant in a contrast; empty if it is not known yet, or cannot be.
  std::optional<double> lr(const Claim& claim, const Contrast& contrast, const std::string& variant,
                           const Outcomes&) const;
  // Among several better variants, the one with the least loss on the tuning seeds at its own best lr.
  std::optional<std::string> better_variant(const Claim& claim, const Contrast& contrast,
                                            const Outcomes& outcomes) const;

  // The law log2 lr = a + b·log2 width through the fits of the variants of a law, each weighted by its standard error,
  // at a width: the vertex there and its standard error, with the greatest curvature and the least freedom of these
  // fits. Empty as long as one is missing.
  std::optional<VertexFit> law_fit(const Claim& claim, const Variant& variant, double width,
                                   const Outcomes& outcomes) const;
  // The variants that a contrast compares, baselines first; none as long as the better one of several is not chosen.
  std::vector<std::string> variants_of(const Claim& claim, const Contrast& contrast, const Outcomes& outcomes) const;

  // How many pairs of a contrast may be made now (sequence.hpp).
  using Pairs = std::function<std::int64_t(const Claim& claim, const Contrast& contrast)>;
  // The runs that can be named now and that nothing has tried: first for tuning, then for comparisons, seed by seed.
  // Empty when every planned run was tried.
  std::vector<Cell> wanted(const Outcomes& outcomes, const Pairs& pairs) const;

 private:
  Cell cell(const Claim& claim, const PlannedVariant& variant, double lr, std::int64_t seed, bool tuning) const;

  const Ledger& ledger_;
  std::string tier_;
  Text text_;
  std::vector<const Claim*> claims_;
  std::map<std::pair<std::string, std::string>, PlannedVariant> variants_;  // by claim and variant
};

}  // namespace scalevec::experiments
