#pragma once

#include <string>
#include <vector>

#include "experiments/claims/evidence.hpp"

// What a ledger will cost and what it can decide, before its runs are made.
namespace scalevec::experiments {

// As text, for each text: what is tuned and compared, the runs that are left, and their core-hours by the mean of the
// finished runs of the same variant, or else per token by those of the same model size; "unknown" where there is none.
// `error`: the part of the error rate that each hypothesis has.
std::string plan_text(const std::vector<Plan>& plans, const RunStore& store, double error);

// As text, for each text and claim, from the tuning runs: the standard deviation of a paired difference, the pairs
// after which the interval of an effect-free claim lies within the smallest effect of interest, and the effect whose
// interval excludes zero in half and in nine of ten cases at the most pairs.
std::string power_text(const std::vector<Plan>& plans, const RunStore& store, double error);

}  // namespace scalevec::experiments
