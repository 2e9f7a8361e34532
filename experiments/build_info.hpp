#pragma once

#include <string>

// What a record of a run says about the program and the machine.
namespace scalevec::build_info {

std::string version();
std::string git_commit();  // with "-dirty" if files were changed; "unknown" outside a checkout
std::string compiler();
std::string machine();  // processor and cores

}  // namespace scalevec::build_info
