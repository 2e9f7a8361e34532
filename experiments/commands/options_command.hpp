#pragma once

#include <CLI/CLI.hpp>

namespace scalevec::experiments {

void add_options_command(CLI::App& app);

}  // namespace scalevec::experiments
