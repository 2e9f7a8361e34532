#include "experiments/claims/method.hpp"

#include "experiments/claims/times.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {

using nlohmann::json;

json ledger_method(const Tier& tier, std::int64_t family, double error) {
  const TierChoice& choice = tier.choice;
  return {
      "A claim's statement, rule, variants and smallest effect of interest were fixed, hashed and written down before "
      "its first run.",
      printed("Own best learning rate: the vertex of a quadratic in log lr through all tuning runs of a variant (%zu "
              "learning rates, %zu seeds from %lld on). A variant whose vertex lies outside its runs gets more of "
              "them. What the error of both vertices may have cost widens the interval.",
              choice.lrs.size(), choice.tuning_seeds.size(), static_cast<long long>(choice.tuning_seeds.front())),
      printed("Pairs: two variants with the same seed begin with the same matrices and see the same batches. "
              "Comparison seeds "
              "begin at %lld; no tuning used them.",
              static_cast<long long>(choice.first_seed)),
      "Looks: after " + joined(choice.looks) +
          " pairs (a claim may have its own numbers), until the interval excludes 0 or lies within the smallest effect "
          "of interest. The boundaries are O'Brien and Fleming's by alpha spending, so that looking again costs no "
          "error rate.",
      printed(
          "The error rate 0.05 is shared by %lld hypotheses, the deciding contrasts of judged claims on their texts: "
          "%.2g for each, two-sided.",
          static_cast<long long>(family), error)};
}

json times_method(const Tier& tier, std::int64_t family) {
  return {
      "Two variants train in turns, A B B A, each turn a process of its own of some seconds, on a machine with nothing "
      "else running. The first third of its steps is warm-up; the median of the others is the time of a step.",
      printed("%lld pairs of turns for each two variants, fixed beforehand. The ratio is that of each pair; its "
              "interval is Student's t on the logarithms, at 1 − 0.05/%lld for the contrasts that decide.",
              static_cast<long long>(tier.choice.most_pairs()), static_cast<long long>(family)),
      printed(
          "Turns beside which others used more than %.0f %% of the machine decide nothing. Every turn is in the file.",
          100.0 * kLoadedShare)};
}

}  // namespace scalevec::experiments
