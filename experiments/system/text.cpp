#include "experiments/system/text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "experiments/system/terminal_text.hpp"

namespace scalevec::experiments {

std::string printed(const char* format, ...) {
  std::va_list once, twice;
  va_start(once, format);
  va_copy(twice, once);
  std::string out(static_cast<size_t>(std::max(0, std::vsnprintf(nullptr, 0, format, once))), '\0');
  std::vsnprintf(out.data(), out.size() + 1, format, twice);
  va_end(twice);
  va_end(once);
  return out;
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text[0] == '-' || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string fixed_text(double x, int decimals) { return std::isfinite(x) ? printed("%.*f", decimals, x) : "n/a"; }

std::string short_number(double x) { return std::isfinite(x) ? printed("%.4g", x) : "n/a"; }

std::string interval_text(double x, double low, double high) {
  return printed("%+.4f", x) + (std::isfinite(low) ? printed(" [%+.4f, %+.4f]", low, high) : "");
}

std::string joined(const std::vector<std::int64_t>& numbers) {
  std::vector<std::string> words;
  for (const std::int64_t n : numbers) words.push_back(std::to_string(n));
  return joined(words);
}

std::string columns_text(const std::vector<std::vector<std::string>>& lines, bool first_right) {
  std::vector<size_t> widths(lines[0].size(), 0);
  for (const auto& line : lines)
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], display_width(line[i]));
  std::string out;
  for (const auto& line : lines) {
    std::string text;
    for (size_t i = 0; i < line.size(); ++i) {
      const std::string gap(widths[i] - display_width(line[i]), ' ');
      text += (i == 0 && first_right ? gap + line[i] : line[i] + gap) + "  ";
    }
    while (text.ends_with(' ')) text.pop_back();
    out += text + "\n";
  }
  return out;
}

}  // namespace scalevec::experiments
