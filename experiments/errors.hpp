#pragma once

#include <stdexcept>
#include <string>

#include "optim/config/json_reader.hpp"

// Errors that end the program: main() prints what() as one line and exits with the status given here.
namespace scalevec::experiments {

// Wrong usage or input; exit status 2. ConfigError of the configuration readers ends the program in the same way.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A run or a check failed; exit status 1.
struct RunError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What body() returns; a ConfigError of it is led by the file that holds the configuration.
template <class Body>
auto naming_file(const std::string& file, const Body& body) {
  try {
    return body();
  } catch (const ConfigError& e) {
    const std::string what = e.what();
    throw ConfigError(what.starts_with(file) ? what : file + ": " + what);
  }
}

}  // namespace scalevec::experiments
