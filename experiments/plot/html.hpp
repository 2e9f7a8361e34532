#pragma once

#include <string>
#include <string_view>
#include <vector>

// The shell that every page of the program has: self-contained HTML, light and dark, for screens from a phone's width
// on and for paper. Without JavaScript everything can be read; with it curves can be hidden and their values read off.
namespace scalevec::html {

// For text and for attribute values.
std::string escape(std::string_view text);

// Escapes, gives negative numbers a typographic minus, and keeps an interval and a number with its % on one line
// ("-0.1 [-0.2, 0]" → "−0.1 [−0.2, 0]" with a no-break space inside the brackets).
std::string number(std::string_view text);

// printf's text of one number.
std::string printed(const char* format, double x);

// A table with a head; the cells are HTML already. Columns from `first_number` on (0-based) are set as numbers. On a
// narrow screen each row becomes a block of lines "head: cell".
std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows,
                  size_t first_number);

// Folded away until it is asked for.
std::string details(std::string_view summary, const std::string& content, bool open = false);

// The whole page; `body` is HTML.
std::string page(std::string_view title, std::string_view body);

// What the page holds inline.
extern const char* const kStyle;
extern const char* const kScript;

}  // namespace scalevec::html
