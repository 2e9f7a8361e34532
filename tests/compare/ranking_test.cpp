#include "experiments/compare/ranking.hpp"

#include <cmath>
#include <sstream>
#include <string>

#include "experiments/system/terminal_text.hpp"
#include "tests/compare/fake_comparison.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

// Student's t quantiles with 2 degrees of freedom have a closed form: t = (2q − 1)·√(2/(4q(1 − q))).
TEST_CASE("variants rank by their paired difference, with intervals at Holm's levels") {
  // Differences to base: clear −0.50, −0.51, −0.49; slight 0.1, 0.2, 0.15; open −0.1, 0.1, 0.09.
  const Analysis a = analyse(fake_comparison({1}, {}, {1, 2, 3},
                                             {{"slight", {{2.1, 2.3, 2.35}}},
                                              {"base", {{2.0, 2.1, 2.2}}},
                                              {"dead", {{kDiverged, kDiverged, kDiverged}}},
                                              {"clear", {{1.50, 1.59, 1.71}}},
                                              {"open", {{1.9, 2.2, 2.29}}}}));
  // fake_comparison takes the first variant for the baseline.
  CHECK(a.variants[a.baseline].name == "slight");
  const std::vector<Ranked> ranked = ranking(a);
  std::vector<std::string> names;
  for (const Ranked& r : ranked) names.push_back(a.variants[r.variant].name);
  CHECK(names == std::vector<std::string>{"clear", "base", "open", "slight", "dead"});
  CHECK(!ranked[3].corrected);
  CHECK(ranked[3].resolution == Resolution::none);
  CHECK(ranked[4].resolution == Resolution::none);
  CHECK(ranked[0].resolution == Resolution::corrected);
  CHECK(ranked[2].resolution == Resolution::open);
  // Four hypotheses, the dead one among them: the smallest p is tested at 0.05/4.
  const MeanInterval& clear = *ranked[0].corrected;
  const double q = 1.0 - 0.05 / 8.0, t = (2 * q - 1) * std::sqrt(2.0 / (4 * q * (1 - q)));
  CHECK(clear.half_width == Approx(t * clear.sd / std::sqrt(3.0)).epsilon(1e-9));
}

TEST_CASE("a difference that Holm's correction takes back is called uncorrected") {
  // Of base: t = 0.15/(0.05/√3) = 5.2, p = 0.035 by itself, above 0.05/2.
  const Analysis a = analyse(fake_comparison(
      {1}, {}, {1, 2, 3}, {{"base", {{2.0, 2.0, 2.0}}}, {"slight", {{1.9, 1.8, 1.85}}}, {"same", {{2.1, 1.9, 2.01}}}}));
  const std::vector<Ranked> ranked = ranking(a);
  CHECK(a.variants[ranked[0].variant].name == "slight");
  CHECK(ranked[0].resolution == Resolution::uncorrected);
  CHECK(ranked[0].adjusted_p == Approx(2.0 * (1.0 - std::sqrt(27.0 / (2.0 + 27.0)))).epsilon(1e-9));
  CHECK(lines_of(ranking_text(a))[1].ends_with("better, uncorrected only"));
}

TEST_CASE("differences without spread are said in words, and resolve nothing") {
  const Analysis a = analyse(
      fake_comparison({1}, {}, {1, 2, 3},
                      {{"base", {{2.0, 2.25, 2.5}}}, {"copy", {{2.0, 2.25, 2.5}}}, {"shifted", {{2.5, 2.75, 3.0}}}}));
  for (const Ranked& r : ranking(a)) CHECK(r.resolution == Resolution::none);
  const std::vector<std::string> lines = lines_of(ranking_text(a));
  CHECK(lines[2].find("+0.0000 (no interval)  ") != std::string::npos);
  CHECK(lines[2].ends_with("  identical losses"));
  CHECK(lines[3].find("+0.5000 (no interval)  ") != std::string::npos);
  CHECK(lines[3].ends_with("  the same for every seed"));
}

TEST_CASE("the terminal's ranking is a line per variant, aligned whatever the letters") {
  const std::string longest(300, 'x');
  const Analysis a = analyse(fake_comparison({1}, {}, {1, 2, 3},
                                             {{"γ", {{2.0, 2.1, 2.2}}},
                                              {"e\u0301 日本", {{1.50, 1.61, 1.70}}},
                                              {longest, {{2.50, 2.61, 2.70}}},
                                              {"two\nlines\x1b[31m", {{2.1, 2.0, 2.2}}},
                                              {"absent", {{kMissing, kMissing, kMissing}}}}));
  const std::vector<std::string> lines = lines_of(ranking_text(a));
  REQUIRE(lines.size() == 6);
  CHECK(lines[0].find("difference to γ [95 %]") != std::string::npos);
  CHECK(lines[1].starts_with("1  e\u0301 日本 "));
  CHECK(lines[1].find("1.6033   -0.4967 [-0.5110, -0.4823]  better") != std::string::npos);
  CHECK(lines[4].find("2.6033   +0.5033 [") != std::string::npos);
  CHECK(lines[4].ends_with("  worse"));
  CHECK(lines[5].starts_with("5  absent "));
  // Where the losses stand.
  const size_t column = display_width(lines[0].substr(0, lines[0].find("loss")));
  for (const auto& [line, loss] : {std::pair{1, "1.6033"}, std::pair{2, "2.1000"}, std::pair{3, "2.1000"},
                                   std::pair{4, "2.6033"}, std::pair{5, "missing"}}) {
    INFO(lines[static_cast<size_t>(line)]);
    const std::string& text = lines[static_cast<size_t>(line)];
    CHECK(display_width(text.substr(0, text.find(loss))) == column);
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(!text.ends_with(' '));
    CHECK(display_width(text) < 120);
  }
}

TEST_CASE("the width of text on a terminal") {
  CHECK(display_width("abc") == 3);
  CHECK(display_width("γ_∞") == 3);
  CHECK(display_width("e\u0301") == 1);
  CHECK(display_width("日本") == 4);
  CHECK(display_width("\xff\xc3") == 2);  // not UTF-8
  CHECK(display_width("") == 0);
}
