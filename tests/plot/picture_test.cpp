#include "experiments/plot/picture.hpp"

#include <algorithm>
#include <cmath>
#include <regex>
#include <string>
#include <tuple>

#include "experiments/figures/series.hpp"
#include "experiments/figures/theory_page.hpp"
#include "experiments/plot/axis.hpp"
#include "experiments/plot/forest.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/plot/picture_panel.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::vector<double> numbers_in(const std::string& text) {
  std::vector<double> out;
  const std::regex number("-?[0-9.]+(e-?[0-9]+)?");
  for (std::sregex_iterator it(text.begin(), text.end(), number), end; it != end; ++it)
    out.push_back(std::stod(it->str()));
  return out;
}

std::string between(const std::string& text, const std::string& from, const std::string& to) {
  const size_t start = text.find(from);
  REQUIRE(start != std::string::npos);
  return text.substr(start + from.size(), text.find(to, start + from.size()) - start - from.size());
}

Panel panel_of(std::vector<Series> series) {
  Panel panel;
  panel.x_label = "step";
  panel.y_label = "loss";
  panel.series = std::move(series);
  return panel;
}

}  // namespace

TEST_CASE("a curve stands where its values say, on linear and logarithmic axes", "[plot]") {
  Panel panel = panel_of({line("a", {0.0, 1.0, 4.0}, {1.0, 10.0, 100.0}, 0)});
  panel.x_range = {0.0, 4.0};
  panel.y_range = {1.0, 100.0};
  for (const bool log : {false, true}) {
    panel.log_y = log;
    const std::string svg = panel_svg(panel, 520, 0.6);
    const std::vector<double> axes = numbers_in(between(svg, "data-axes=\"", "\""));
    REQUIRE(axes.size() == 8);
    const double width = axes[6], height = axes[7];
    CHECK(axes[5] == (log ? 1.0 : 0.0));
    const std::vector<double> path = numbers_in(between(svg, "<path class=\"d0\" d=\"", "\""));
    const double middle = log ? 0.5 : 9.0 / 99.0;
    const std::vector<double> expected{0.0, height, width / 4.0, height * (1.0 - middle), width, 0.0};
    REQUIRE(path.size() == expected.size());
    for (size_t i = 0; i < path.size(); ++i) CHECK(std::abs(path[i] - expected[i]) <= 0.11);
    CHECK(has(svg, "data-y=\"1 10 100\""));
  }
}

TEST_CASE("what an axis cannot show breaks a curve and nothing else", "[plot]") {
  Panel panel = panel_of({line("a", {1, 2, 3, 4, 5}, {1.0, 2.0, std::nan(""), 2.0, 1.0}, 0)});
  CHECK(occurrences(between(panel_svg(panel, 520, 0.6), "<path class=\"d0\" d=\"", "\""), "M") == 2);
  panel.series[0].y[2] = -1.0;
  panel.log_y = true;
  CHECK(occurrences(between(panel_svg(panel, 520, 0.6), "<path class=\"d0\" d=\"", "\""), "M") == 2);
  // Nothing to draw, one point, one value: a frame, and no number that is none.
  for (const std::vector<double>& y :
       {std::vector<double>{}, {3.0}, {2.0, 2.0}, {std::nan(""), INFINITY}, {1e300, -1e300}})
    for (const bool log : {false, true}) {
      std::vector<double> x;
      for (size_t i = 0; i < y.size(); ++i) x.push_back(static_cast<double>(i + 1));
      panel.series = {line("a", x, y, 0)};
      panel.log_y = panel.log_x = log;
      const std::string svg = panel_svg(panel, 520, 0.6);
      CHECK(has(svg, "class=\"frame\""));
      for (const char* attribute : {"d=\"", "x=\"", "y=\"", "data-axes=\""})
        for (size_t at = svg.find(attribute); at != std::string::npos; at = svg.find(attribute, at + 1)) {
          const std::string value = svg.substr(at, svg.find('"', at + std::string(attribute).size()) - at);
          if (value.starts_with("data-") || svg.substr(at - 5, 5) != "data-") CHECK(!has(value, "nan"));
        }
    }
}

TEST_CASE("curves differ in more than colour, and a dashed one keeps its meaning", "[plot]") {
  std::vector<Series> lines;
  for (int i = 0; i < 42; ++i) lines.push_back(line(std::to_string(i), {1, 2}, {1.0 + i, 2.0 + i}, i));
  Panel panel = panel_of(lines);
  std::vector<std::string> looks;
  for (size_t i = 0; i < lines.size(); ++i) {
    const SeriesLook look = look_of(panel, i, lines_differ_in_dash(panel));
    const std::string both = look.colour + look.dash;
    CHECK(std::find(looks.begin(), looks.end(), both) == looks.end());
    looks.push_back(both);
    if (i > 0 && i < 6) CHECK(look.dash != look_of(panel, i - 1, true).dash);
    CHECK(!look.marker.empty());
  }
  panel.series.push_back(line("predicted", {1, 2}, {1, 2}, 2, Series::Style::dashed));
  CHECK(!lines_differ_in_dash(panel));
  CHECK(look_of(panel, 3, false).dash == "d0");
  CHECK(look_of(panel, 42, false).dash == "d6");
}

TEST_CASE("a key hides all that belongs to its curve, and names are text", "[plot]") {
  const std::string name = "<b>&\"x\"' γ";
  Series band = line("", {1, 2}, {1, 2}, 1);
  band.style = Series::Style::band;
  band.y_low = {0.5, 1.5};
  band.y_high = {1.5, 2.5};
  Plot plot{"p&q",
            "Title <i>",
            "Caption & more",
            {panel_of({line("first", {1, 2}, {2, 2}, 0), band, line(name, {1, 2}, {1, 2}, 1)})}};
  const std::string html = picture(plot, "<a href=\"x\">CSV</a>");
  CHECK(!has(html, "<b>"));
  CHECK(!has(html, "<i>"));
  CHECK(has(html, "<figure id=\"figure-p&amp;q\">"));
  CHECK(has(html, "Caption &amp; more <a href=\"x\">CSV</a>"));
  const std::string key = "data-key=\"&lt;b&gt;&amp;&quot;x&quot;&#39; γ\"";
  CHECK(occurrences(html, key) == 3);  // button, band, line
  CHECK(occurrences(html, "<button") == 2);
  CHECK(has(html, "data-low=\"0.5 1.5\" data-high=\"1.5 2.5\""));
  // A key without a curve can't be clicked.
  plot.panels[0].series.push_back(line("nothing", {}, {}, 3));
  CHECK(occurrences(picture(plot), "<button") == 2);
  CHECK(has(picture(plot), "<span>nothing</span>"));
}

TEST_CASE("cells are coloured by value, those without one left out", "[plot]") {
  const std::string svg =
      panel_svg(panel_of(phase_diagram({1, 2}, {1, 2}, {-1.0, 0.0, 1.0, std::nan("")}, false, false)), 520, 0.6);
  CHECK(occurrences(svg, "<rect") == 3);
  for (const char* colour : {"#2166ac", "#f7f7f7", "#b2182b"}) CHECK(has(svg, colour));
}

TEST_CASE("ticks are round numbers inside the axis", "[plot]") {
  const std::vector<double> unit = linear_ticks(0.0, 1.0), expected{0.0, 0.2, 0.4, 0.6, 0.8, 1.0};
  REQUIRE(unit.size() == expected.size());
  for (size_t i = 0; i < unit.size(); ++i) CHECK(std::abs(unit[i] - expected[i]) < 1e-15);
  for (const auto& [low, high] :
       {std::pair{-3.7, 12.1}, {1e-9, 3e-9}, {-1e12, -1e11}, {5.0, 5.0 + 1e-12}, {1e16, 1e16 + 4}}) {
    const std::vector<double> ticks = linear_ticks(low, high);
    CHECK(ticks.size() >= 1);
    CHECK(ticks.size() <= 11);
    for (const double t : ticks) CHECK((t >= low - 1e-6 * (high - low) && t <= high + 1e-6 * (high - low)));
  }
}

TEST_CASE("a forest's axis shows what it must and is not ruled by one row", "[plot]") {
  const auto row = [](double estimate, double half, double outer) {
    ForestRow r;
    r.name = "<x>";
    r.estimate = estimate;
    r.interval = {estimate - half, estimate + half};
    r.outer = {estimate - outer, estimate + outer};
    return r;
  };
  auto [low, high] = forest_range({row(-0.02, 0.01, 0.02), row(0.01, 0.005, 0.01)});
  CHECK(low < -0.04);
  CHECK(high > 0.02);
  // Far outliers and wide corrected intervals leave the others legible.
  std::tie(low, high) = forest_range({row(-0.02, 0.01, 5.0), row(0.01, 0.005, 0.01), row(3.0, 0.1, 0.2)});
  CHECK(low > -0.2);
  CHECK(high < 0.2);
  CHECK(high > 0.015);
  const std::string html = forest_html({{row(-0.02, 0.01, 5.0), row(0.01, 0.005, 0.01), row(3.0, 0.1, 0.2)}});
  CHECK(occurrences(html, "class=\"beyond\"") == 3);
  CHECK(!has(html, "<x>"));
  // Nothing measured at all.
  ForestRow none;
  none.reason = "diverged";
  CHECK(forest_range({none}) == std::pair{-1.0, 1.0});
  CHECK(has(forest_html({{none}}), "diverged"));
  CHECK(!has(forest_html({{none}}), "nan"));
}

TEST_CASE("links to files are encoded", "[plot]") {
  const std::string links = file_links({"/x/a b#γ.csv", "/x/a.gp", "", ""}, "r_files");
  CHECK(has(links, "href=\"r_files/a%20b%23%CE%B3.csv\""));
  CHECK(!has(links, "PNG"));
}

TEST_CASE("the theory's page lists every figure with its verdict", "[figures]") {
  Figure one, two;
  one.id = "T1";
  one.title = "Folding <W>";
  one.formula = "a < b";
  one.domain = "any γ";
  two.id = "T2";
  const std::string page = theory_page(
      {{&one, "off by 0.1, allowed 0.2", true, "<figure>one</figure>"}, {&two, "cannot write", false, ""}}, "quick", 2);
  CHECK(has(page, "1 of 2 figures agree"));
  CHECK(!has(page, "Interrupted"));
  CHECK(has(page, "<h2 id=\"T1\">T1: Folding &lt;W&gt;</h2>"));
  CHECK(has(page, "<figure>one</figure>"));
  CHECK(has(page, "<strong class=\"bad\">out</strong>: cannot write."));
  CHECK(has(page, "<p><code>a &lt; b</code><br>Holds for: any γ.</p>"));
  CHECK(has(theory_page({{&one, "off by 0.1, allowed 0.2", true, ""}}, "quick", 26),
            "1 of 1 figures agree with their simulation. Interrupted: 25 more figures were not drawn."));
}
