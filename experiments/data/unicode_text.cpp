#include "experiments/data/unicode_text.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <unordered_map>

#include "experiments/data/unicode_ranges.hpp"

namespace scalevec::experiments {
namespace {

template <class Range>
const Range* find_range(std::span<const Range> ranges, char32_t c) {
  const auto it =
      std::upper_bound(ranges.begin(), ranges.end(), c, [](char32_t x, const auto& r) { return x < r.low; });
  return it != ranges.begin() && c <= std::prev(it)->high ? &*std::prev(it) : nullptr;
}

bool in_ranges(std::span<const unicode::Range> ranges, char32_t c) { return find_range(ranges, c) != nullptr; }

// Hangul syllables, which are composed by rule: chapter 3.12 of the Unicode Standard.
constexpr char32_t kSyllable = 0xac00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11a7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28;

void append_decomposed(std::u32string& out, char32_t c) {
  if (c >= kSyllable && c < kSyllable + kLeads * kVowels * kTails) {
    const char32_t s = c - kSyllable;
    out += kLead + s / (kVowels * kTails);
    out += kVowel + s / kTails % kVowels;
    if (s % kTails != 0) out += kTail + s % kTails;
    return;
  }
  const std::span table(unicode::kDecompositions);
  const auto it =
      std::lower_bound(table.begin(), table.end(), c, [](const auto& entry, char32_t x) { return entry.code < x; });
  if (it == table.end() || it->code != c) {
    out += c;
    return;
  }
  append_decomposed(out, it->first);
  if (it->second != 0) append_decomposed(out, it->second);
}

int combining_class(char32_t c) {
  const auto* mark = c < 0x300 ? nullptr : find_range(std::span<const unicode::Mark>(unicode::kMarks), c);
  return mark == nullptr ? 0 : mark->combining_class;
}

// The character that two make, 0 if none.
char32_t composed(char32_t a, char32_t b) {
  if (a >= kLead && a < kLead + kLeads && b >= kVowel && b < kVowel + kVowels)
    return kSyllable + ((a - kLead) * kVowels + (b - kVowel)) * kTails;
  if (a >= kSyllable && a < kSyllable + kLeads * kVowels * kTails && (a - kSyllable) % kTails == 0 && b > kTail &&
      b < kTail + kTails)
    return a + (b - kTail);
  static const std::unordered_map<std::uint64_t, char32_t> pairs = [] {
    std::unordered_map<std::uint64_t, char32_t> map;
    for (const auto& d : unicode::kDecompositions)
      if (d.composes) map[(std::uint64_t{d.first} << 32) | d.second] = d.code;
    return map;
  }();
  const auto it = pairs.find((std::uint64_t{a} << 32) | b);
  return it == pairs.end() ? 0 : it->second;
}

// The code point that begins at byte i, which is moved behind it; empty, and i stays, if there is none.
std::optional<char32_t> next_code(std::string_view text, std::size_t& i) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char b = byte(i);
  const std::size_t length = b < 0x80 ? 1 : (b >> 5) == 6 ? 2 : (b >> 4) == 14 ? 3 : (b >> 3) == 30 ? 4 : 0;
  char32_t code = length == 1 ? b : length == 2 ? b & 31 : length == 3 ? b & 15 : b & 7;
  bool good = length > 0 && i + length <= text.size();
  for (std::size_t k = 1; good && k < length; ++k) {
    good = (byte(i + k) & 0xc0) == 0x80;
    code = (code << 6) | (byte(i + k) & 63);
  }
  constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (!good || code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return std::nullopt;
  i += length;
  return code;
}

}  // namespace

std::optional<std::u32string> code_points(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto code = next_code(text, i);
    if (!code) return std::nullopt;
    out += *code;
  }
  return out;
}

std::size_t utf8_prefix(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size() && next_code(text, i)) continue;
  return i;
}

void append_utf8(std::string& out, std::u32string_view codes) {
  for (const char32_t c : codes) {
    if (c < 0x80) {
      out += static_cast<char>(c);
      continue;
    }
    const int tails = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    constexpr unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
    out += static_cast<char>(lead[tails] | (c >> (6 * tails)));
    for (int k = tails - 1; k >= 0; --k) out += static_cast<char>(0x80 | ((c >> (6 * k)) & 63));
  }
}

bool is_letter(char32_t c) {
  return c < 0x80 ? (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') : in_ranges(unicode::kLetters, c);
}
bool is_number(char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : in_ranges(unicode::kNumbers, c); }
bool is_numeric(char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : in_ranges(unicode::kNumeric, c); }
bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

std::u32string normal_form_c(const std::u32string& text) {
  // Below U+0300 nothing decomposes into anything else than what it is composed of.
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x300; })) return text;
  std::u32string parts;
  for (const char32_t c : text) append_decomposed(parts, c);
  for (auto begin = parts.begin(); begin != parts.end();) {
    const auto is_mark = [](char32_t c) { return combining_class(c) != 0; };
    begin = std::find_if(begin, parts.end(), is_mark);
    const auto end = std::find_if_not(begin, parts.end(), is_mark);
    std::stable_sort(begin, end, [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
  // A character is blocked from the last starter if one of its class, or a starter, stands between them.
  std::u32string out;
  std::size_t starter = std::u32string::npos;
  int last_class = 0;
  for (const char32_t c : parts) {
    const int own = combining_class(c);
    const bool adjacent = starter != std::u32string::npos && starter + 1 == out.size();
    if (starter != std::u32string::npos && (adjacent || (last_class != 0 && last_class < own))) {
      if (const char32_t both = composed(out[starter], c); both != 0) {
        out[starter] = both;
        continue;
      }
    }
    if (own == 0) starter = out.size();
    last_class = own;
    out += c;
  }
  return out;
}

}  // namespace scalevec::experiments
