#include "experiments/plot/html.hpp"

namespace scalevec::experiments::html {
namespace {

// A head's cell as the label of a restacked row: tags are white space there.
std::string plain_label(std::string_view head) {
  std::string out;
  bool tag = false;
  for (const char c : head) {
    if (c == '<') {
      tag = true;
      if (!out.empty() && out.back() != ' ') out += ' ';
    }
    if (!tag && c != '"') out += c;
    if (c == '>') tag = false;
  }
  return out;
}

std::string of_class(std::string_view kind) { return kind.empty() ? "" : " class=\"" + std::string(kind) + "\""; }

// The markers of curves, once for all pictures of the page.
constexpr const char* kMarkerShapes =
    "<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>"
    "<circle id=\"m0\" r=\"3.6\"/>"
    "<circle id=\"m1\" r=\"4.6\" class=\"open\"/>"
    "<path id=\"m2\" d=\"M-3.4-3.4h6.8v6.8h-6.8z\"/>"
    "<path id=\"m3\" d=\"M-4.4-4.4h8.8v8.8h-8.8z\" class=\"open\"/>"
    "<path id=\"m4\" d=\"M0-5L5 0 0 5-5 0z\"/>"
    "<path id=\"m5\" d=\"M0-5L4.6 3.4H-4.6z\"/>"
    "<path id=\"m6\" d=\"M-3.6-3.6L3.6 3.6M-3.6 3.6L3.6-3.6\" class=\"cross\"/>"
    "</defs></svg>\n";

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
  bool bracket = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool starts = i == 0 || std::string_view(" [(").find(text[i - 1]) != std::string_view::npos;
    if (text[i] == '[') bracket = true;
    if (text[i] == ']') bracket = false;
    if (text[i] == '-' && starts && digit_at(i + 1))
      out += "\u2212";
    else if (text[i] == ' ' && (bracket || (i + 1 < text.size() && text[i + 1] == '%')))
      out += "\u00a0";
    else
      out += escape(text.substr(i, 1));
  }
  return out;
}

std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows,
                  size_t first_number) {
  std::string out = "<div class=\"scroll\"><table>\n<thead><tr>";
  for (size_t i = 0; i < head.size(); ++i)
    out += std::string("<th scope=\"col\"") + (i >= first_number ? " class=\"n\">" : ">") + head[i] + "</th>";
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : rows) {
    out += "<tr>";
    for (size_t i = 0; i < row.size(); ++i)
      out += std::string("<td class=\"") + (i >= first_number ? "n" : "t") + (row[i].empty() ? " none" : "") +
             "\" data-label=\"" + (i < head.size() ? plain_label(head[i]) : "") + "\"><div>" + row[i] + "</div></td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string list(const std::vector<std::string>& items, std::string_view kind) {
  std::string out = "<ul" + of_class(kind) + ">\n";
  for (const std::string& item : items) out += "<li>" + item + "</li>\n";
  return out + "</ul>\n";
}

std::string terms(const std::vector<std::pair<std::string, std::string>>& items, std::string_view kind) {
  std::string out = "<dl" + of_class(kind) + ">\n";
  for (const auto& [term, said] : items)
    if (!said.empty()) out += "<dt>" + escape(term) + "</dt><dd>" + said + "</dd>\n";
  return out + "</dl>\n";
}

std::string details(std::string_view summary, const std::string& content, bool open) {
  return std::string("<details") + (open ? " open" : "") + "><summary>" + escape(summary) + "</summary>\n" + content +
         "</details>\n";
}

std::string page(std::string_view title, std::string_view body) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"generator\" content=\"scalevec\">\n<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<title>";
  out += escape(title);
  out += "</title>\n<style>";
  out += kStyle;
  out += "</style>\n</head>\n<body>\n";
  out += kMarkerShapes;
  out += body;
  out += "<script>";
  out += kScript;
  return out + "</script>\n</body>\n</html>\n";
}

}  // namespace scalevec::experiments::html
