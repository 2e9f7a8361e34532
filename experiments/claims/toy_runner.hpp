#pragma once

#include <nlohmann/json.hpp>

namespace scalevec {

struct ToyClaim;

// Trains a claim's toy with the library's optimizers: {"lrs", "worse", "better": mean loss over the tuning replicas per
// lr, null where one diverged; "worse_lr", "better_lr": the best; "gains": ln(loss worse/loss better) of each
// comparison replica; "words"}. Handed in, so that what judges a ledger needs no LibTorch.
using ToyRunner = nlohmann::json (*)(const ToyClaim& toy);

// The one there is, in claims/torch. Throws ConfigError for a problem it can't read.
nlohmann::json run_claim_toy(const ToyClaim& toy);

}  // namespace scalevec
