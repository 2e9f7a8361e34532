#pragma once

#include <optional>
#include <string>
#include <string_view>

// Unicode text as the tokenizers of Hugging Face see it; the classes of characters are theirs (unicode_ranges.hpp).
namespace scalevec::experiments {

// The code points of UTF-8 text; empty if it is not UTF-8.
std::optional<std::u32string> code_points(std::string_view text);
// How many bytes of the text are UTF-8, up to the first that is not.
std::size_t utf8_prefix(std::string_view text);
void append_utf8(std::string& out, std::u32string_view codes);

bool is_letter(char32_t c);   // \p{L} of their regular expressions
bool is_number(char32_t c);   // \p{N}
bool is_numeric(char32_t c);  // what their pre-tokenizer Digits splits off
bool is_space(char32_t c);    // \s: the White_Space property

// Normalization Form C: UAX #15.
std::u32string normal_form_c(const std::u32string& text);

}  // namespace scalevec::experiments
