#pragma once

#include <CLI/CLI.hpp>

namespace scalevec::experiments {

// Adds `data prepare` and `data info` to the program. Their work throws UsageError, ConfigError and RunError.
void add_data_command(CLI::App& app);

}  // namespace scalevec::experiments
