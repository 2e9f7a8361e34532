#include "experiments/figures/theory_page.hpp"

#include "experiments/plot/html.hpp"

namespace scalevec::experiments {
namespace {

std::string verdict_mark(const DrawnFigure& figure) {
  return figure.agrees ? "<strong class=\"good\">ok</strong>" : "<strong class=\"bad\">out</strong>";
}

}  // namespace

std::string theory_page(const std::vector<DrawnFigure>& figures, const std::string& quality, size_t chosen) {
  std::vector<std::vector<std::string>> rows;
  std::string sections;
  size_t agreeing = 0;
  for (const DrawnFigure& f : figures) {
    const std::string id = html::escape(f.figure->id), title = html::escape(f.figure->title),
                      line = html::number(f.line);
    agreeing += f.agrees;
    rows.push_back({"<a href=\"#" + id + "\"><strong>" + id + "</strong></a>", title, verdict_mark(f), line});
    sections += "<h2 id=\"" + id + "\">" + id + ": " + title + "</h2>\n<p>" + verdict_mark(f) + ": " + line +
                ".</p>\n<p><code>" + html::escape(f.figure->formula) +
                "</code><br>Holds for: " + html::escape(f.figure->domain) + ".</p>\n" + f.picture;
  }
  const std::string title = "Theory: prediction over simulation";
  const std::string missing = figures.size() == chosen ? ""
                                                       : " Interrupted: " + std::to_string(chosen - figures.size()) +
                                                             " more figures were not drawn.";
  return html::page(
      title, "<h1>" + title + "</h1>\n<p class=\"meta\">" + std::to_string(agreeing) + " of " +
                 std::to_string(figures.size()) + " figures agree with their simulation." + missing + " Quality: " +
                 html::escape(quality) + ".</p>\n" + html::table({"Figure", "Title", "Verdict", "Measure"}, rows, 4) +
                 "<p class=\"sub hint\">In a picture, click a name in its key to hide or show its curves; "
                 "point at a curve to read its values.</p>\n" +
                 sections);
}

}  // namespace scalevec::experiments
