#include "experiments/system/terminal_text.hpp"

#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

// One code point at `at`, which moves past it; a byte that is not UTF-8 counts as one character.
char32_t next_code_point(const std::string& text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
  char32_t code = length == 1 ? first : first & (0x7Fu >> length);
  for (size_t k = 1; k < length; ++k) {
    if (at + k >= text.size() || (byte(at + k) & 0xC0) != 0x80) {
      ++at;
      return first;
    }
    code = (code << 6) | (byte(at + k) & 0x3Fu);
  }
  at += length;
  return code;
}

size_t width_of(char32_t c) {
  const auto in = [c](char32_t low, char32_t high) { return c >= low && c <= high; };
  if (in(0x300, 0x36F) || in(0x1AB0, 0x1AFF) || in(0x20D0, 0x20FF) || in(0x200B, 0x200F) || in(0xFE00, 0xFE0F))
    return 0;
  const bool wide = in(0x1100, 0x115F) || in(0x2E80, 0xA4CF) || in(0xAC00, 0xD7A3) || in(0xF900, 0xFAFF) ||
                    in(0xFE30, 0xFE6F) || in(0xFF00, 0xFF60) || in(0xFFE0, 0xFFE6) || in(0x1F300, 0x1F64F) ||
                    in(0x1F680, 0x1F6FF) || in(0x1F900, 0x1F9FF) || in(0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}

}  // namespace

size_t next_character_width(const std::string& text, size_t& at) { return width_of(next_code_point(text, at)); }

size_t display_width(const std::string& text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size();) width += next_character_width(text, at);
  return width;
}

std::string time_text(double seconds) {
  if (seconds < 0.095) return printed("%.2g ms", 1e3 * seconds);
  if (seconds < 9.5) return printed("%.1f s", seconds);
  if (seconds < 120.0) return printed("%.0f s", seconds);
  if (seconds < 7200.0) return printed("%.0f min", seconds / 60.0);
  return printed("%.1f h", seconds / 3600.0);
}

}  // namespace scalevec::experiments
