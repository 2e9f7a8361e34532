#pragma once

#include <cstddef>
#include <string>

// Text on a terminal.
namespace scalevec::experiments {

// The number of columns that a terminal needs for UTF-8 text: none for combining marks, two for wide characters.
size_t display_width(const std::string& text);

// That of the character at `at`, which moves past it; a byte that is not UTF-8 counts as one character.
size_t next_character_width(const std::string& text, size_t& at);

// A duration with two or three digits and its unit: "1.2 ms", "3.4 s", "95 s", "12 min", "2.5 h".
std::string time_text(double seconds);

}  // namespace scalevec::experiments
