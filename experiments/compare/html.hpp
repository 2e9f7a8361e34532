#pragma once

#include <string>
#include <string_view>
#include <vector>

// Pieces of a self-contained HTML page.
namespace scalevec::html {

// For text and for attribute values.
std::string escape(std::string_view text);

// Escapes, gives negative numbers a typographic minus ("-0.1 [-0.2, 0]" → "−0.1 [−0.2, 0]") and keeps a % by its
// number.
std::string number(std::string_view text);

// A table with a head; the cells are HTML already. Columns from `first_number` on (0-based) are set as numbers.
std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows,
                  size_t first_number);

// An SVG file's text as an element of the page: without the XML head, and with its ids prefixed so that several
// pictures don't see each other's.
std::string inline_svg(std::string_view svg, const std::string& prefix);

// The whole page; `body` is HTML.
std::string page(std::string_view title, std::string_view body);

}  // namespace scalevec::html
