#include "theory/dense.hpp"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/reference_optimizers.hpp"

using namespace scalevec;
using namespace scalevec::theory;

// Sums of powers of eigenvalues are traces of powers, by plain products; the largest value bounds each element.
TEST_CASE("eigenvalues have the traces of the matrix's powers, whatever its kind") {
  for (const std::size_t n : {1, 2, 3, 8, 33}) {
    for (int kind = 0; kind < 5; ++kind) {
      reference::Matrix a(n, n);
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j <= i; ++j) {
          const double x = random_normal(2, 10 * n + static_cast<std::size_t>(kind), i * n + j);
          // Dense, diagonal, of rank one, all equal, over many orders of magnitude.
          const double value = kind == 0   ? x
                               : kind == 1 ? (i == j ? x : 0.0)
                               : kind == 2 ? static_cast<double>((i + 1) * (j + 1))
                               : kind == 3 ? (i == j ? 2.0 : 0.0)
                                           : x * std::pow(10.0, -static_cast<double>(i + j));
          a.x[i * n + j] = a.x[j * n + i] = value;
        }
      const std::vector<double> got = symmetric_eigenvalues(a.x, n);
      REQUIRE(got.size() == n);
      double first = 0.0, second = 0.0, third = 0.0, trace = 0.0, squares = 0.0, cubes = 0.0, most = 0.0;
      for (std::size_t i = 0; i < n; ++i) {
        if (i > 0) CHECK(got[i] >= got[i - 1]);
        first += got[i];
        second += got[i] * got[i];
        third += got[i] * got[i] * got[i];
        most = std::max(most, std::abs(got[i]));
        trace += a.x[i * n + i];
        for (std::size_t j = 0; j < n; ++j) {
          squares += a.x[i * n + j] * a.x[i * n + j];
          for (std::size_t k = 0; k < n; ++k) cubes += a.x[i * n + j] * a.x[j * n + k] * a.x[k * n + i];
        }
      }
      const double allowed = 1e-14 * static_cast<double>(n);
      INFO(n << " " << kind);
      CHECK(std::abs(first - trace) <= allowed * most * static_cast<double>(n));
      CHECK(std::abs(second - squares) <= allowed * squares);
      CHECK(std::abs(third - cubes) <= allowed * most * squares);
    }
  }
}

TEST_CASE("singular values are the roots of the eigenvalues of the matrix by its transpose") {
  for (const std::size_t n : {1, 2, 5, 24}) {
    for (int kind = 0; kind < 4; ++kind) {
      std::vector<double> a(n * n), square(n * n);
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          // Dense, singular (equal rows), triangular with zeros, zero.
          a[i * n + j] = kind == 0   ? random_normal(3, n, i * n + j)
                         : kind == 1 ? random_normal(3, n, j)
                         : kind == 2 ? (j > i ? 1.0 : 0.0)
                                     : 0.0;
      double most = 0.0;
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          for (std::size_t k = 0; k < n; ++k) square[i * n + j] += a[i * n + k] * a[j * n + k];
      const std::vector<double> got = singular_values(a, n), squared = symmetric_eigenvalues(square, n);
      REQUIRE(got.size() == n);
      most = got.back();
      INFO(n << " " << kind);
      for (std::size_t i = 0; i < n; ++i) {
        CHECK(got[i] >= 0.0);
        CHECK(std::abs(got[i] * got[i] - squared[i]) <= 1e-13 * most * most);
      }
    }
  }
}

// The second difference's eigenvalues are 2 − 2cos(kπ/(n + 1)).
TEST_CASE("a tridiagonal matrix with known eigenvalues") {
  const std::size_t n = 200;
  const std::vector<double> got =
      tridiagonal_eigenvalues(std::vector<double>(n, 2.0), std::vector<double>(n - 1, -1.0));
  for (std::size_t k = 1; k <= n; ++k)
    CHECK(std::abs(got[k - 1] - (2.0 - 2.0 * std::cos(static_cast<double>(k) * std::acos(-1.0) / (n + 1)))) <= 1e-13);
  CHECK_THROWS_AS(tridiagonal_eigenvalues({1.0, 2.0}, {}), std::invalid_argument);
  CHECK_THROWS_AS(symmetric_eigenvalues({1.0, 2.0}, 2), std::invalid_argument);
  CHECK_THROWS_AS(singular_values({}, 0), std::invalid_argument);
}
