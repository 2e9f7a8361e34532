#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "scalevec/experiments/compare/grid.hpp"
#include "scalevec/experiments/compare/statistics.hpp"

// What a comparison's cells say: each variant at its own best setting and at the baseline's, paired over seeds.
// A *setting* is one combination of the values of every axis but the seed's: the lr, and whatever is tuned with it.
namespace scalevec {

struct CellOutcome {
  enum class State { done, diverged, missing };
  State state = State::missing;
  double loss;         // final validation loss; +∞ if diverged, NaN if missing
  std::string reason;  // why it diverged or is missing
  std::string data;    // SHA-256 of what it was trained on; empty: not recorded, or a toy
};

// Of a cell's folder: `missing` with the reason where it holds no finished run. A validation loss that is not finite is
// a divergence.
CellOutcome read_outcome(const std::filesystem::path& folder);

struct Comparison {
  std::filesystem::path dir;
  Grid grid;  // without configurations
  nlohmann::json manifest;
  std::vector<CellOutcome> outcomes;  // one per cell
};

// Reads DIR/compare.json and every cell's cell.json and summary.json. Missing with the reason is a cell without a
// finished run, whose run is of another configuration than the manifest says (by the hash in cell.json) or was trained
// on other data than most of the cells, or whose log is damaged. Throws UsageError if DIR is no comparison's folder.
Comparison load_comparison(const std::filesystem::path& dir);

// How settings are chosen, so that luck in the search does not count as merit.
enum class Selection {
  tuning_seeds,   // on the tuning seeds
  leave_one_out,  // for each seed, on the mean over the other seeds
  same_seed       // there is one seed only: chosen and judged on it, which flatters
};

enum class GridEdge { none, low, high };

// An end of an axis of numbers where a variant's best setting lies.
struct AxisEnd {
  std::string key;
  GridEdge edge;
};

struct LrPoint {
  double lr;
  size_t setting;     // the best one with this lr
  MeanInterval loss;  // over the comparison seeds
  size_t diverged = 0, missing = 0;
};

// Losses of a variant at the settings chosen for each seed, and their paired difference to the baseline's.
struct Judged {
  std::vector<double> losses;  // per comparison seed; +∞ diverged, NaN missing
  MeanInterval loss;
  std::optional<MeanInterval> difference;  // variant − baseline, below 0 is better; empty for the baseline
};

struct VariantResult {
  std::string name;
  std::optional<size_t> best;                 // over all the seeds that choose; empty without a finished cell
  std::vector<std::optional<size_t>> chosen;  // per comparison seed
  GridEdge edge = GridEdge::none;             // `best`, or else one of `chosen`, lies at this end of the lr axis
  std::vector<AxisEnd> ends;                  // the same of every axis of two numbers or more, the lr's included
  bool all_diverged = false;                  // no run is finished or missing
  Judged own, matched;                        // at its own chosen settings, and at the baseline's
  std::vector<LrPoint> curve;                 // by rising lr; empty without an lr axis
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

// A setting is chosen by the least mean loss over the choosing seeds. One with a diverged cell is worse than any
// without; among the others, those of which fewer of these cells are there than of others can't be chosen. Ties go to
// the earlier setting of the grid. A setting that diverged on the choosing seeds is at no edge.
Analysis analyse(const Comparison& comparison);

}  // namespace scalevec
