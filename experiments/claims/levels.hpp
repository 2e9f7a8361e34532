#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "scalevec/experiments/claims/claim.hpp"
#include "scalevec/experiments/claims/toy_runner.hpp"
#include "scalevec/experiments/claims/verdict.hpp"

// The first two levels of evidence: the theory's figures, and a toy model through the real optimizers. Both are kept in
// the ledger's folder and not made again.
namespace scalevec {

struct FigureEvidence {
  std::string id, caption;
  double agreement = 0.0, required = 0.0;
  std::filesystem::path picture;  // a file with its part of a page; empty: none
  std::string problem;            // why there is none: the program has no such figure, or it failed
  bool agrees() const { return problem.empty() && agreement <= required; }
};

// Draws what is not in `dir` yet, at quick quality.
std::vector<FigureEvidence> figure_evidence(const std::vector<std::string>& ids, const std::filesystem::path& dir);

// A toy claim's result: both variants at their own best lr, chosen on half of the replicas and compared on the other
// half.
struct ToyEvidence {
  std::vector<double> lrs, worse, better;  // mean loss over the tuning replicas, NaN where one diverged
  double worse_lr = 0.0, better_lr = 0.0;
  std::vector<double> gains;  // ln(loss worse / loss better), per comparison replica
  Judgement judgement;        // at 95 %, of the mean gain
  double mean = 0.0;
  std::string words;  // the problem and both variants
};

// `run` trains the toy where it is not kept in `dir`.
ToyEvidence toy_evidence(const Claim& claim, ToyRunner run, const std::filesystem::path& dir);

// What the levels together say: the language models' verdict, or that levels disagree.
struct Levels {
  std::string
      theory;       // confirmed, contradicted, conditional, silent; "not available" where a figure is out of agreement
  std::string toy;  // a verdict, or "none"
  std::string language;
  bool disagree() const;
  std::string headline() const;
};

}  // namespace scalevec
