#pragma once

#include <string>

// What the record of a run contains about the program and the machine.
namespace scalevec::experiments::build_info {

std::string version();
std::string git_commit();  // with "-dirty" if files were changed; "unknown" without a Git checkout
std::string compiler();
std::string machine();  // processor and number of cores

}  // namespace scalevec::experiments::build_info
