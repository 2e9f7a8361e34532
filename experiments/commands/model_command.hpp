#pragma once

#include <CLI/CLI.hpp>

namespace scalevec::experiments {

// Adds `model import`, `export`, `logits`, `fold`, `info`, `eval` and `scales` to the program. Their work throws
// UsageError, ConfigError and RunError.
void add_model_command(CLI::App& app);

}  // namespace scalevec::experiments
