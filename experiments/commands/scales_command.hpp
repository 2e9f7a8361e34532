#pragma once

#include <CLI/CLI.hpp>

namespace scalevec::experiments {

// Adds `scales` to the `model` command. Its work throws UsageError, ConfigError and RunError.
void add_scales_command(CLI::App& model);

}  // namespace scalevec::experiments
