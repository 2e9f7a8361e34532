#pragma once

namespace CLI {
class App;
}

#include "experiments/claims/claim.hpp"

namespace scalevec::experiments {

// `scalevec claims [ID…] --out DIR`: makes the runs that the ledger needs and are not there, and says of every claim
// what they show. The callback throws UsageError or ConfigError, RunError if runs failed (the ledger is written all the
// same), and CLI::RuntimeError with 130 or 143 after a signal.
void add_claims_command(CLI::App& app, ToyRunner toy);

}  // namespace scalevec::experiments
