#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "experiments/claims/plan.hpp"
#include "experiments/claims/run_store.hpp"
#include "experiments/claims/verdict.hpp"

// From runs to gains: the result of each contrast of a claim.
namespace scalevec::experiments {

struct MeasuredVariant {
  std::string name;
  std::optional<double> lr;
  std::optional<VertexFit> fit;             // by which the lr was chosen, where the variant is compared at its own
  std::vector<double> values;               // of the contrast's metric, per seed; +∞ diverged, NaN missing
  double parameters = kNaN, tokens = kNaN;  // of its runs
};

struct ContrastResult {
  const Contrast* contrast = nullptr;
  std::vector<MeasuredVariant> better,
      worse;                  // variants and baselines as the contrast names them (of several better ones the chosen)
  std::vector<double> gains;  // per seed; empty if the contrast has no pairs
  Gain gain;
  std::vector<std::string> notes;
  // Of a ladder, for each law that was fitted {"variant": the part of the sizes' names before the first space,
  // "compute" and "loss" (per size: 6·parameters·tokens, mean over seeds), "floor", "log_factor", "exponent", and the
  // ends of its 95 % interval by bootstrap over seeds, "exponent_low" and "exponent_high"}.
  std::vector<nlohmann::json> fits;
  std::vector<double> without;  // for a ladder of five sizes or more: the gain without each of them; NaN: no fit
  std::string extrapolation;    // for a ladder: the result at ten times the largest budget, or why there is none
};

// A contrast on the first `pairs` comparison seeds.
ContrastResult measure(const Plan& plan, const Claim& claim, const Contrast& contrast, const RunStore& store,
                       std::int64_t pairs);

struct Look {
  std::int64_t pairs = 0;
  double level = 0.05;  // two-sided, nominal
  double gain = kNaN;
  Judgement judgement;
};

// A contrast, looked at again and again until it is decided or the last look is made.
struct Sequence {
  ContrastResult result;  // at the last look that was made, or else of the pairs of the first
  std::vector<Look> looks;
  std::string stopped;      // why no look follows; empty: one does, as soon as its runs are made
  std::int64_t wanted = 0;  // pairs of that look; 0 if none follows

  Judgement judgement() const { return looks.empty() ? Judgement{} : looks.back().judgement; }
};

// `error` is the hypothesis' part of the ledger's; a contrast that does not decide has one look at 0.05. A gain that
// has a reason (a run that failed or diverged) ends it.
Sequence follow(const Plan& plan, const Claim& claim, const Contrast& contrast, const RunStore& store, double error);

// For Plan::wanted().
Plan::Pairs pairs_by_looks(const Plan& plan, const RunStore& store, double error);

// Of the claims of a plan: what its text says of each, as an element of "evidence" in claims.json. Where `withheld`
// says why, every verdict is inconclusive for this reason; the intervals do not change. "pilot" is from the tuning
// seeds, before the comparison: the standard deviation of a paired difference to the baseline, pooled over learning
// rates and variants, the pairs for an interval of ± the smallest effect of interest, and the half width at the most
// pairs.
std::vector<nlohmann::json> gather(const Plan& plan, const RunStore& store, double error,
                                   const std::string& withheld = "");

// The runs that were tried for a claim: those of tuning, and of the comparisons at the lrs that are chosen.
std::set<std::string> runs_used(const Plan& plan, const Claim& claim, const RunStore& store);

// Of a run's result: the CPU time of its training, which waits for other work do not lengthen; of a run that does not
// say it, its seconds times its threads, or NaN.
double core_seconds(const nlohmann::json& result);

// A claim with what each text says of it, as an element of "claims" in claims.json.
nlohmann::json joined_evidence(const Claim& claim, const std::vector<nlohmann::json>& evidence);

// The members of a judgement in claims.json.
nlohmann::json judgement_json(const Judgement& judgement);

// The mean of values[i] over the indices i in `chosen`.
double mean_over(const std::vector<double>& values, std::span<const size_t> chosen);

// Fits both scaling laws, with one floor, to the sizes of a ladder (r.better and r.worse, losses per seed) and sets the
// gain: the compute at which the baseline's law reaches the loss of the variant at the largest budget, divided by that
// budget, minus 1. If the variant is worse, it is computed with the roles exchanged and inverted, so that nothing
// outside the measured budgets is used. Intervals are by bootstrap over seeds.
void fit_ladder(ContrastResult& r, std::int64_t seeds);

// Sets r.gain.lr_errors for each variant of r that has a fit, where gain(better, worse) is the gain at these losses and
// `better` and `worse` are those measured. The reason is set where a gain is not finite at such a loss.
void add_lr_errors(ContrastResult& r, const std::vector<double>& better, const std::vector<double>& worse,
                   const std::function<double(const std::vector<double>&, const std::vector<double>&)>& gain);

// The tokens at which the falling `losses` reach `loss`, interpolated linearly in log2 of the tokens; NaN outside the
// measured range.
double tokens_at_loss(std::span<const double> tokens, std::span<const double> losses, double loss);

}  // namespace scalevec::experiments
