#include "experiments/statistics/statistics.hpp"

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
nlohmann::json fixture() {
  std::ifstream in(std::string(SCALEVEC_FIXTURES) + "/stats/intervals.json");
  return nlohmann::json::parse(in);
}

}  // namespace

TEST_CASE("intervals equal SciPy's") {
  const nlohmann::json cases = fixture();
  REQUIRE(cases["mean"].size() == 36);
  for (const auto& c : cases["mean"]) {
    const auto values = c["values"].get<std::vector<double>>();
    const MeanInterval m = mean_interval(values, c["confidence"].get<double>());
    // Relative to the values' own size, which bounds the rounding of a mean.
    const double tolerance = 1e-13 * (std::abs(c["mean"].get<double>()) + c["sd"].get<double>()) * 100;
    CHECK(m.n == static_cast<std::int64_t>(values.size()));
    CHECK(std::abs(m.mean - c["mean"].get<double>()) <= tolerance);
    CHECK(std::abs(m.sd - c["sd"].get<double>()) <= tolerance);
    CHECK(std::abs(m.low() - c["low"].get<double>()) <= tolerance);
    CHECK(std::abs(m.high() - c["high"].get<double>()) <= tolerance);
  }
  REQUIRE(cases["paired"].size() == 3);
  for (const auto& c : cases["paired"]) {
    const MeanInterval d =
        paired_difference(c["values"].get<std::vector<double>>(), c["baseline"].get<std::vector<double>>());
    CHECK(std::abs(d.low() - c["low"].get<double>()) <= 1e-12);
    CHECK(std::abs(d.high() - c["high"].get<double>()) <= 1e-12);
  }
}

TEST_CASE("the number of pairs an effect needs equals a search with SciPy") {
  const nlohmann::json cases = fixture();
  REQUIRE(cases["pairs_needed"].size() == 12);
  for (const auto& c : cases["pairs_needed"]) {
    const auto n = pairs_needed(c["sd"].get<double>(), c["effect"].get<double>());
    REQUIRE(n.has_value());
    CHECK(*n == c["pairs"].get<std::int64_t>());
  }
  CHECK(pairs_needed(0.0, 0.01) == 2);
  CHECK(!pairs_needed(kNaN, 0.01));
  CHECK(!pairs_needed(1.0, 0.0));
  CHECK(!pairs_needed(1.0, 1e-9));
}

TEST_CASE("one value has no interval, and none has no mean") {
  const MeanInterval one = mean_interval(std::vector<double>{2.0});
  CHECK(one.n == 1);
  CHECK(one.mean == 2.0);
  CHECK(!one.defined());
  CHECK(std::isnan(one.half_width));
  CHECK(!one.excludes_zero());
  const MeanInterval none = mean_interval(std::vector<double>{});
  CHECK(none.n == 0);
  CHECK(std::isnan(none.mean));
}

TEST_CASE("values that are not finite are left out in pairs and counted") {
  const MeanInterval m = mean_interval(std::vector<double>{1.0, kInf, 3.0, kNaN});
  CHECK(m.n == 2);
  CHECK(m.left_out == 2);
  CHECK(m.mean == 2.0);
  const MeanInterval d =
      paired_difference(std::vector<double>{1.0, kInf, 3.0, 9.0}, std::vector<double>{0.5, 1.0, 2.0, kNaN});
  CHECK(d.n == 2);
  CHECK(d.left_out == 2);
  CHECK(d.mean == 0.75);
  CHECK_THROWS_AS(paired_difference(std::vector<double>{1.0}, std::vector<double>{}), std::invalid_argument);
}
