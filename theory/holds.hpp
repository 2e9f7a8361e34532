#pragma once

#include <string>

namespace scalevec::theory {

// Whether the conditions under which a result was derived are met, and if not, which one is missing and by how much. A
// formula evaluates outside them all the same.
struct Holds {
  bool yes = true;
  std::string why;  // empty where yes

  explicit operator bool() const { return yes; }
};

}  // namespace scalevec::theory
