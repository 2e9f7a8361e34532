#pragma once

#include <string>

#include "experiments/claims/times.hpp"

namespace scalevec::experiments {

// `scalevec claims --times`: makes the turns that are missing, judges them with the levels before (levels.hpp), writes
// claims.json and claims.html into options.out and prints a line per pair and the result. `command`: what to type to do
// this again. Ends the command with 128 + the signal if one stopped it.
void judge_times(const Plan& plan, const Tier& tier, TimesOptions options, ToyRunner toy, const std::string& command);

}  // namespace scalevec::experiments
