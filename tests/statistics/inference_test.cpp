#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "experiments/statistics/bootstrap.hpp"
#include "experiments/statistics/statistics.hpp"
#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

nlohmann::json fixture(const char* part) {
  std::ifstream in(std::string(SCALEVEC_FIXTURES) + "/stats/ledger.json");
  return nlohmann::json::parse(in).at(part);
}

double mean_of(std::span<const double> values, std::span<const size_t> chosen) {
  double sum = 0.0;
  for (const size_t i : chosen) sum += values[i];
  return sum / static_cast<double>(chosen.size());
}

}  // namespace

TEST_CASE("t tests and their intervals at any level equal SciPy's") {
  const auto cases = fixture("tests");
  REQUIRE(cases.size() == 12);
  for (const auto& c : cases) {
    const MeanInterval m =
        at_confidence(mean_interval(c["values"].get<std::vector<double>>()), 1.0 - c["level"].get<double>());
    CHECK(two_sided_p(m) == Approx(c["p"].get<double>()).epsilon(1e-9));
    CHECK(m.low() == Approx(c["low"].get<double>()).epsilon(1e-9));
    CHECK(m.high() == Approx(c["high"].get<double>()).epsilon(1e-9));
  }
  CHECK(std::isnan(two_sided_p(mean_interval(std::vector<double>{1.0}))));
  CHECK(two_sided_p(mean_interval(std::vector<double>{1.0, 1.0})) == 0.0);
  CHECK(two_sided_p(mean_interval(std::vector<double>{0.0, 0.0})) == 1.0);
}

TEST_CASE("Holm's adjusted p-values and rejections equal statsmodels'") {
  const auto cases = fixture("holm");
  REQUIRE(cases.size() == 15);
  for (const auto& c : cases) {
    const auto p = c["p"].get<std::vector<double>>();
    const auto corrected = holm(p);
    for (size_t i = 0; i < p.size(); ++i) {
      CHECK(corrected[i].adjusted_p == Approx(c["adjusted"][i].get<double>()).epsilon(1e-12));
      CHECK(corrected[i].rejected == c["rejected"][i].get<bool>());
      CHECK((p[i] <= corrected[i].level) == corrected[i].rejected);
    }
  }
}

TEST_CASE("a test that could not be made counts in Holm's family") {
  const auto corrected = holm(std::vector<double>{0.02, kNaN, kNaN});
  CHECK(!corrected[0].rejected);
  CHECK(corrected[0].adjusted_p == Approx(0.06));
  CHECK(corrected[1].adjusted_p == 1.0);
}

TEST_CASE("bootstrap intervals equal SciPy's up to the error of the resampling") {
  const auto cases = fixture("bootstrap");
  REQUIRE(cases.size() == 16);
  for (const auto& c : cases) {
    const auto x = c["values"].get<std::vector<double>>();
    const Bootstrap b(x.size(), [&](auto chosen) { return mean_of(x, chosen); }, {40000, 7});
    // An end at probability α/2 (or, under BCa, up to three times further out) moves by sem·√(p(1 − p)/B)/density:
    // below 0.03 sem for 40,000 resamples and the skewed tails here, SciPy's own error included.
    const double tolerance = 0.06 * c["sem"].get<double>();
    if (c["method"] != "BCa") continue;
    REQUIRE(b.bca());
    const auto [low, high] = b.interval(c["confidence"].get<double>());
    CHECK(std::abs(low - c["low"].get<double>()) < tolerance);
    CHECK(std::abs(high - c["high"].get<double>()) < tolerance);
  }
}

TEST_CASE("a bootstrap without spread or units says so") {
  const std::vector<double> one{1.0}, same{2.0, 2.0, 2.0};
  CHECK(!Bootstrap(1, [&](auto chosen) { return mean_of(one, chosen); }).defined());
  const Bootstrap constant(3, [&](auto chosen) { return mean_of(same, chosen); });
  CHECK(!constant.bca());
  CHECK(constant.interval().first == 2.0);
  const Bootstrap failing(3, [&](auto chosen) { return chosen[0] == 0 ? 1.0 : kNaN; });
  CHECK(!failing.defined());
}

// 95 % BCa intervals of a mean of 20 normal values cover it in some 93 % of cases (the known shortfall of the bootstrap
// at this size, √((n − 1)/n) and the normal in place of t). Of 1,000 trials fewer than 89.5 % or more than 96.5 % would
// cover with probability below 2e-4 each way if the truth lies between 92 and 94 %.
TEST_CASE("bootstrap intervals cover the truth as often as they should") {
  int covered = 0;
  for (std::uint64_t trial = 0; trial < 1000; ++trial) {
    std::vector<double> x;
    for (std::uint64_t i = 0; i < 20; ++i) x.push_back(random_normal(11, trial, i));
    const Bootstrap b(x.size(), [&](auto chosen) { return mean_of(x, chosen); }, {1000, trial});
    const auto [low, high] = b.interval();
    covered += low <= 0.0 && 0.0 <= high;
  }
  CHECK(covered >= 895);
  CHECK(covered <= 965);
}
