#pragma once

#include <CLI/CLI.hpp>

namespace scalevec::experiments {

// Adds `scalevec theory`: draws figures of the theory and says whether prediction and simulation agree. Parsing the
// command line runs it; it throws UsageError for an unknown figure, key or value, RunError where a figure is out of
// agreement (after all named figures are drawn).
void add_theory_command(CLI::App& app);

}  // namespace scalevec::experiments
