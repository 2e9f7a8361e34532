#pragma once

#include <stdexcept>

#include "scalevec/optim/config/json_reader.hpp"

// How the program ends: main() prints what() as one line and exits with the status.
namespace scalevec {

// Wrong usage or input, exit status 2. ConfigError (of the configuration readers) ends likewise.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A run or a check that failed, exit status 1.
struct RunError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace scalevec
