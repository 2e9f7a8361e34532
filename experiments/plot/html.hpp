#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The frame of all HTML pages that the program writes: self-contained, with a light and a dark style, for screens from
// the width of a phone upwards and for paper. Everything can be read without JavaScript; with it, curves can be hidden
// and their values are shown at the pointer.
namespace scalevec::experiments::html {

// Escapes &, <, > and quotes, for text and for attribute values.
std::string escape(std::string_view text);

// Escapes, gives negative numbers a typographic minus, and keeps an interval and a number with its % on one line
// ("-0.1 [-0.2, 0]" → "−0.1 [−0.2, 0]" with a no-break space inside the brackets).
std::string number(std::string_view text);

// A table with a head. The cells are HTML. Columns from `first_number` on (counted from 0) are aligned as numbers. On a
// narrow screen each row becomes a block of lines "head: cell".
std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows,
                  size_t first_number);

// A list of HTML items; `kind` is its class.
std::string list(const std::vector<std::string>& items, std::string_view kind = "");

// A list of terms with what is said of each: plain text, then HTML. A term of which nothing is said is left out.
std::string terms(const std::vector<std::pair<std::string, std::string>>& items, std::string_view kind = "");

// A section that is closed, with `summary` visible, until the reader opens it.
std::string details(std::string_view summary, const std::string& content, bool open = false);

// The whole page; `body` is HTML.
std::string page(std::string_view title, std::string_view body);

// The style sheet and the script that the page contains.
extern const char* const kStyle;
extern const char* const kScript;

}  // namespace scalevec::experiments::html
