#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/claims/plan.hpp"
#include "experiments/system/cpu_load.hpp"

// Claims about time and memory, decided by turns: short runs of two variants, one after the other, with nothing else
// running.
namespace scalevec::experiments {

struct TimesOptions {
  std::filesystem::path program = "/proc/self/exe";  // is called `program train CONFIG --out RUN`
  std::filesystem::path out;                         // gets turns.json after each pair
  bool loaded = false;                               // measure on a machine that others use; such turns decide nothing
  std::function<CpuTimes()> cpu_times = [] { return read_cpu_times(); };
  double look_seconds = 1.0;         // how long the machine is watched before it counts as quiet
  std::ostream* progress = nullptr;  // a line per pair; null: silent
};

// Others' share of the machine's time above which it counts as loaded.
inline constexpr double kLoadedShare = 0.05;

// Makes the turns that OUT/turns.json does not have yet and writes it after each pair. For each two variants that
// contrasts of the claims compare: as many pairs as the tier has seeds, in turns A B, B A, A B, … Each turn is a
// process of its own; the time of a step is the median over the steps after the first third, which are warm-up.
// turns.json holds per turn: claim, variant, folder, pair, order (0 or 1), seconds_per_step, steps (the seconds of each
// counted step), peak_memory (bytes), parameters, others (share of the machine that others used meanwhile), loaded; and
// the machine and the commit. Returns what it holds. UsageError if the machine is loaded and `loaded` is not set, and
// if turns.json is of another machine or another ledger; RunError if a turn fails. If a signal stops it, "signal" is
// that signal.
nlohmann::json make_turns(const Plan& plan, const TimesOptions& options);

// The ratio of a variant's `values` to the baseline's, of pairs of turns: exp of the mean of ln(value/baseline) with
// its Student-t interval at `confidence`.
struct TurnRatio {
  std::int64_t pairs = 0;
  double ratio, low, high;       // NaN if there are fewer than two pairs
  double sd;                     // of ln of a pair's ratio
  std::vector<double> per_pair;  // in the order of the pairs
};
TurnRatio turn_ratio(const std::vector<double>& values, const std::vector<double>& baseline, double confidence);

// The claims of the plan as claims.json has them, judged from the turns: a "ratio" contrast is confirmed if the
// interval of limit − ratio lies above 0. The interval is at 1 − 0.05/(deciding contrasts of the plan). Inconclusive
// where turns are missing or were made on a loaded machine. "evidence" has an entry for each two variants, with its
// "turns".
nlohmann::json judge_turns(const Plan& plan, const nlohmann::json& turns);

}  // namespace scalevec::experiments
