#include "theory/power_law.hpp"

#include <cmath>
#include <optional>
#include <vector>

#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"
#include "theory/lanczos.hpp"

using namespace scalevec;
using namespace scalevec::theory;

namespace {

std::optional<PowerLaw> fit_one(const std::vector<double>& compute, const std::vector<double>& loss,
                                double huber = 1e-3) {
  const LossOverCompute ladder{compute, loss};
  const auto laws = fit_power_laws({&ladder, 1}, huber);
  return laws ? std::optional(laws->front()) : std::nullopt;
}

}  // namespace

TEST_CASE("a scaling law is found again from its own values") {
  for (const double exponent : {0.05, 0.15, 0.5}) {
    const PowerLaw truth{1.7, std::log(30.0), exponent};
    std::vector<double> compute, loss;
    for (double c = 1e9; c < 1e14; c *= 10.0) {
      compute.push_back(c);
      loss.push_back(truth.loss(c));
    }
    const auto fit = fit_one(compute, loss);
    REQUIRE(fit);
    CHECK(fit->exponent == Approx(exponent).epsilon(1e-4));
    CHECK(fit->floor == Approx(1.7).epsilon(1e-4));
    CHECK(*fit->compute(truth.loss(3e11)) == Approx(3e11).epsilon(1e-4));
    // One point far off moves a robust fit little.
    loss[2] *= 1.2;
    loss.push_back(truth.loss(3e10));
    compute.push_back(3e10);
    CHECK(fit_one(compute, loss)->loss(3e12) == Approx(truth.loss(3e12)).epsilon(0.02));
  }
}

TEST_CASE("laws with one floor are found again together, where each alone is not determined") {
  for (std::uint64_t trial = 0; trial < 50; ++trial) {
    const auto u = [&](std::uint64_t i) { return random_uniform(41, trial, i); };
    const double floor = 0.2 + 2.0 * u(0);
    const PowerLaw a{floor, std::log(5.0 + 60.0 * u(1)), 0.08 + 0.3 * u(2)},
        b{floor, std::log(5.0 + 60.0 * u(3)), 0.08 + 0.3 * u(4)};
    std::vector<double> first, second, first_loss, second_loss;
    for (int i = 0; i < 3; ++i) {  // three points and three unknowns each: five together, of six points
      first.push_back(std::pow(10.0, 10.0 + 1.1 * i));
      second.push_back(std::pow(10.0, 10.3 + 1.2 * i));
      first_loss.push_back(a.loss(first.back()));
      second_loss.push_back(b.loss(second.back()));
    }
    CAPTURE(trial);
    const LossOverCompute both[] = {{first, first_loss}, {second, second_loss}};
    const auto laws = fit_power_laws(both);
    REQUIRE(laws);
    CHECK((*laws)[0].floor == (*laws)[1].floor);
    for (int i = 0; i < 3; ++i) {
      CHECK((*laws)[0].loss(first[static_cast<std::size_t>(i)]) ==
            Approx(first_loss[static_cast<std::size_t>(i)]).epsilon(1e-5));
      CHECK((*laws)[1].loss(second[static_cast<std::size_t>(i)]) ==
            Approx(second_loss[static_cast<std::size_t>(i)]).epsilon(1e-5));
    }
    CHECK(!fit_power_laws({both, 1}));
    const auto again = fit_power_laws(both, 1e-3, *laws);
    REQUIRE(again);
    CHECK((*again)[0].exponent == Approx((*laws)[0].exponent).epsilon(1e-4));
  }
}

TEST_CASE("what no law fits is refused") {
  const std::vector<double> compute{1.0, 10.0, 100.0, 1000.0, 10000.0};
  CHECK(!fit_power_laws({}));
  CHECK(!fit_one(compute, std::vector<double>(5, 3.0)));
  CHECK(!fit_one(compute, std::vector<double>{3.0, 4.0, 5.0, 6.0, 7.0}));
  CHECK(!fit_one(compute, std::vector<double>{7.0, 5.0, 4.0, 3.5, 3.2}, 0.0));
  CHECK(!fit_one({1.0, 2.0, 3.0}, std::vector<double>{3.0, 2.0, 1.0}));
  CHECK(!fit_one({1.0, 2.0, 3.0, 4.0}, std::vector<double>{3.0, 2.0, 1.0, NAN}));
  CHECK(!fit_one({1.0, 1.0, 2.0, 2.0}, std::vector<double>{3.0, 3.0, 1.0, 1.0}));
  CHECK(!PowerLaw{2.0, 0.0, 0.1}.compute(2.0));
}

TEST_CASE("Lanczos finds the ends of a known spectrum") {
  // A diagonal matrix turned by a Householder reflection I − 2uuᵀ.
  const std::size_t n = 300;
  std::vector<double> u(n), eigen(n);
  double norm = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    u[i] = random_normal(2, 0, i);
    norm += u[i] * u[i];
    eigen[i] = -1.5 + 3.0 * static_cast<double>(i) / static_cast<double>(n);
  }
  eigen[n - 1] = 7.25;
  for (double& x : u) x /= std::sqrt(norm);
  const auto reflect = [&](std::vector<double>& x) {
    double dot = 0.0;
    for (std::size_t i = 0; i < n; ++i) dot += u[i] * x[i];
    for (std::size_t i = 0; i < n; ++i) x[i] -= 2.0 * dot * u[i];
  };
  const auto product = [&](std::span<const double> in, std::span<double> out) {
    std::vector<double> x(in.begin(), in.end());
    reflect(x);
    for (std::size_t i = 0; i < n; ++i) x[i] *= eigen[i];
    reflect(x);
    std::copy(x.begin(), x.end(), out.begin());
  };
  const LanczosResult result = lanczos(n, product, 60, 1e-9);
  CHECK(result.converged);
  CHECK(result.largest == Approx(7.25).epsilon(1e-10));
  // Only the largest is waited for; the least Ritz value lies above the least eigenvalue.
  CHECK(result.smallest >= -1.5);
  CHECK(result.smallest < -1.4);
  CHECK(lanczos(1, [](auto in, auto out) { out[0] = -3.0 * in[0]; }).largest == Approx(-3.0));
}
