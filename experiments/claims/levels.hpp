#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/claims/claim.hpp"
#include "experiments/claims/toy_runner.hpp"
#include "experiments/claims/verdict.hpp"

// The first two levels of evidence: the figures of the theory, and a toy model trained by the library's optimizers.
// Both are stored in the folder of the ledger and not computed again.
namespace scalevec::experiments {

struct FigureEvidence {
  std::string id, caption;
  double agreement = 0.0, required = 0.0;
  std::filesystem::path picture;  // a file with the HTML of the figure; empty: none
  std::string problem;            // why there is no figure: the program has none of this name, or it failed
  bool agrees() const { return problem.empty() && agreement <= required; }
};

// Draws the figures that are not in `dir` yet, at quick quality.
std::vector<FigureEvidence> figure_evidence(const std::vector<std::string>& ids, const std::filesystem::path& dir);

// The result of a toy: both variants at their own best lr, which is chosen on half of the replicas; they are compared
// on the other half.
struct ToyEvidence {
  std::vector<double> lrs, worse, better;  // mean loss over the tuning replicas, NaN where one diverged
  double worse_lr = 0.0, better_lr = 0.0;
  std::vector<double> gains;  // ln(loss worse / loss better), per comparison replica
  Judgement judgement;        // at 95 %, of the mean gain
  double mean = 0.0;
  std::string words;  // the problem and both variants
};

// Calls `run` to train the toy if its result is not in `dir` yet.
ToyEvidence toy_evidence(const Claim& claim, ToyRunner run, const std::filesystem::path& dir);

// The conclusion from all levels: the verdict of the language models, or that the levels disagree.
struct Levels {
  std::string
      theory;       // confirmed, contradicted, conditional, silent; "not available" where a figure is out of agreement
  std::string toy;  // a verdict, or "none"
  std::string language;
  bool disagree() const;
  std::string headline() const;
};

}  // namespace scalevec::experiments
