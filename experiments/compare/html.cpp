#include "scalevec/experiments/compare/html.hpp"

namespace scalevec::html {
namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; color: #1c2128;
  background: #fff; max-width: 1120px; margin: 0 auto; padding: 40px 28px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 52px 0 12px; padding-top: 14px; border-top: 1px solid #e2e5e9; }
h3 { font-size: 16px; margin: 22px 0 4px; }
p { max-width: 76ch; margin: 8px 0; }
.meta { color: #667080; margin: 0 0 22px; }
.findings { background: #f5f7fa; border-left: 4px solid #0072b2; padding: 12px 20px; border-radius: 0 6px 6px 0; }
.findings p:first-child { font-weight: 600; }
.scroll { overflow-x: auto; margin: 14px 0; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; vertical-align: bottom; font-weight: 600; color: #465060; border-bottom: 2px solid #c8cdd4; }
th, td { padding: 7px 16px 7px 0; }
td:first-child { white-space: nowrap; }
td { border-bottom: 1px solid #e9ecef; vertical-align: top; }
th.n, td.n { text-align: right; white-space: nowrap; }
.sub { color: #667080; font-size: 13px; }
.mark { color: #a34700; font-size: 13px; font-weight: 600; }
.clear { font-weight: 600; }
figure { margin: 30px 0 40px; }
figure svg { max-width: 100%; height: auto; display: block; }
figcaption { color: #465060; font-size: 14.5px; max-width: 82ch; margin-top: 8px; }
details { margin: 12px 0; } summary { cursor: pointer; color: #0a5c96; }
pre, code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: #f5f7fa; padding: 12px 16px; border-radius: 6px; overflow-x: auto; }
dl { display: grid; grid-template-columns: fit-content(24ch) 1fr; gap: 6px 24px; font-size: 15px; }
dt { color: #667080; } dd { margin: 0; max-width: 82ch; overflow-wrap: anywhere; }
.policies dt { color: inherit; font-weight: 600; } .policies details { margin: 2px 0 10px; font-size: 14px; }
@media print { body { padding: 0; } figure { break-inside: avoid; } }
)";

void replace_all(std::string& text, std::string_view from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  return out;
}

std::string number(std::string_view text) {
  const auto digit_at = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool starts = i == 0 || std::string_view(" [(").find(text[i - 1]) != std::string_view::npos;
    if (text[i] == '-' && starts && digit_at(i + 1))
      out += "\u2212";
    else if (text[i] == ' ' && i + 1 < text.size() && text[i + 1] == '%')
      out += "\u00a0";
    else
      out += escape(text.substr(i, 1));
  }
  return out;
}

std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows,
                  size_t first_number) {
  const auto cell = [&](const char* tag, size_t column, const std::string& content) {
    return std::string("<") + tag + (column >= first_number ? " class=\"n\">" : ">") + content + "</" + tag + ">";
  };
  std::string out = "<div class=\"scroll\"><table>\n<thead><tr>";
  for (size_t i = 0; i < head.size(); ++i) out += cell("th", i, head[i]);
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : rows) {
    out += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) out += cell("td", i, row[i]);
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string inline_svg(std::string_view svg, const std::string& prefix) {
  const size_t start = svg.find("<svg");
  if (start == std::string_view::npos) return "";
  std::string out(svg.substr(start));
  for (const char quote : {'"', '\''}) {
    const std::string q(1, quote);
    replace_all(out, " id=" + q, " id=" + q + prefix + "-");
    replace_all(out, "href=" + q + "#", "href=" + q + "#" + prefix + "-");
  }
  replace_all(out, "url(#", "url(#" + prefix + "-");
  return out;
}

std::string page(std::string_view title, std::string_view body) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>";
  out += escape(title);
  out += "</title>\n<style>";
  out += kStyle;
  out += "</style>\n</head>\n<body>\n";
  out += body;
  return out + "</body>\n</html>\n";
}

}  // namespace scalevec::html
