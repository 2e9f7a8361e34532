#pragma once

#include <cstddef>
#include <string_view>

namespace scalevec {

// Columns that UTF-8 text takes on a terminal: none for a combining mark, two for a wide (East Asian) character or an
// emoji, one for any other and for a byte that is not UTF-8. The wide ranges are those of Unicode's EastAsianWidth.txt,
// by blocks.
std::size_t text_width(std::string_view text);

}  // namespace scalevec
