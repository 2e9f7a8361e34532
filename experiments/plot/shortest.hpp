#pragma once

#include <array>
#include <charconv>
#include <string>

namespace scalevec::experiments {

// The fewest digits that read back as x: at most 24 characters.
inline std::string shortest(double x) {
  std::array<char, 32> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), x).ptr};
}

}  // namespace scalevec::experiments
