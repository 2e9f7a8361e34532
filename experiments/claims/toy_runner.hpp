#pragma once

#include <nlohmann/json.hpp>

namespace scalevec::experiments {

struct ToyClaim;

// Trains the toy of a claim with the library's optimizers and returns {"lrs", "worse", "better": mean loss over the
// tuning replicas for each lr, null if one diverged; "worse_lr", "better_lr": the best lr; "gains": ln(loss worse/loss
// better) of each comparison replica; "words"}. It is passed as a function, so that the code that judges a ledger needs
// no LibTorch.
using ToyRunner = nlohmann::json (*)(const ToyClaim& toy);

}  // namespace scalevec::experiments
