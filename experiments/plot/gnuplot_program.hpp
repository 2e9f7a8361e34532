#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace scalevec::experiments {

// The gnuplot program found on PATH.
std::optional<std::filesystem::path> find_gnuplot();

// Runs `program` on a script in the script's folder, without a shell or the user's start-up file. The message of a
// failure (gnuplot's first lines), or empty.
std::string run_gnuplot(const std::filesystem::path& program, const std::filesystem::path& script);

}  // namespace scalevec::experiments
