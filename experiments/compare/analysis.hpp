#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/compare/grid.hpp"
#include "experiments/statistics/statistics.hpp"

// The results of a comparison: each variant at its own best setting and at the baseline's, paired over seeds. A
// *setting* is one combination of the values of every axis except the seed's: the lr, and what is tuned with it. Losses
// are validation losses, in nats per token for a language model.
namespace scalevec::experiments {

// What one cell contributes.
struct CellOutcome {
  enum class State { done, diverged, missing };
  State state = State::missing;
  double loss;         // final validation loss; +∞ if diverged, NaN if missing
  std::string reason;  // why it diverged or is missing
  std::string data;    // SHA-256 of the data that it was trained on; empty: not recorded, or a toy
};

// The outcome in the folder of a cell; `missing`, with the reason, if it has no finished run. A validation loss that is
// not finite counts as a divergence.
CellOutcome read_outcome(const std::filesystem::path& folder);

// Of every cell of the grid in the folder `dir`. Missing too, with the reason, is a cell whose run has another
// configuration than the grid says (by the hash in cell.json), was trained on other data than most of the cells, or has
// a damaged log.
std::vector<CellOutcome> read_outcomes(const std::filesystem::path& dir, const Grid& grid);

struct Comparison {
  std::filesystem::path dir;
  Grid grid;  // without configurations
  nlohmann::json manifest;
  std::vector<CellOutcome> outcomes;  // one per cell
};

// Reads DIR/compare.json and the outcomes of its cells. Throws UsageError if DIR is not the folder of a comparison.
Comparison load_comparison(const std::filesystem::path& dir);

// On which seeds a setting is chosen. Only with same_seed can a lucky run in the search count as a gain.
enum class Selection {
  tuning_seeds,   // on the tuning seeds
  leave_one_out,  // for each seed, on the mean over the other seeds
  same_seed       // there is only one seed: the setting is chosen and judged on it, which favours the variant
};

enum class GridEdge { none, low, high };

// The best setting of a variant lies at this end of an axis of numbers.
struct AxisEnd {
  std::string key;
  GridEdge edge;
};

// One point of the curve of loss against lr.
struct LrPoint {
  double lr;
  size_t setting;              // the best one with this lr
  std::vector<double> losses;  // per seed; +∞ diverged, NaN missing
  MeanInterval loss;
  size_t diverged = 0, missing = 0;
};

LrPoint lr_point(double lr, std::vector<double> losses, size_t setting = 0);

// Of settings that have these losses on the seeds where one is chosen, the one with the least mean. One with a diverged
// run comes after every one without, and of the others one with fewer finished runs after one with more; of equal ones
// the first is taken. Empty without a finished run.
std::optional<size_t> best_setting(const std::vector<std::vector<double>>& losses);

// The losses of a variant at the settings chosen for each seed, and their paired difference to the baseline's losses.
struct Judged {
  std::vector<double> losses;  // per comparison seed; +∞ diverged, NaN missing
  MeanInterval loss;
  std::optional<MeanInterval> difference;  // variant − baseline (below 0: better); empty for the baseline
};

struct VariantResult {
  std::string name;
  std::optional<size_t> best;                 // over all seeds on which it is chosen; empty without a finished cell
  std::vector<std::optional<size_t>> chosen;  // per comparison seed
  GridEdge edge = GridEdge::none;             // the end of the lr axis where `best`, or else one of `chosen`, lies
  std::vector<AxisEnd> ends;                  // the same for every axis of two numbers or more, including the lr
  bool all_diverged = false;                  // every run diverged
  Judged own, matched;                        // at its own chosen settings, and at the baseline's (not of a search)
  std::vector<LrPoint> curve;                 // in order of lr; empty without an lr axis; of a search what it tried
  size_t runs = 0, done = 0, diverged = 0, missing = 0;
};

struct Analysis {
  Selection selection = Selection::leave_one_out;
  std::vector<nlohmann::json> settings;
  std::vector<std::string> labels;  // describe_setting() of each
  std::vector<VariantResult> variants;
  size_t baseline = 0;
  std::vector<std::pair<std::string, std::string>> missing;  // cell and reason
};

// A setting is chosen by best_setting(), in the grid's order. One that diverged on the choosing seeds is at no edge.
Analysis analyse(const Comparison& comparison);

}  // namespace scalevec::experiments
