#pragma once

#include <CLI/CLI.hpp>

namespace scalevec::experiments {

// `scalevec train` and `scalevec plan`. A command that ends without an exception sets `status`.
void add_train_command(CLI::App& app, int& status);
void add_plan_command(CLI::App& app);

}  // namespace scalevec::experiments
