#include "experiments/data/permutation.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

std::vector<std::uint64_t> table(std::uint64_t size, std::uint64_t seed, std::uint64_t stream) {
  const Permutation permutation(size, seed, stream);
  std::vector<std::uint64_t> values;
  for (std::uint64_t i = 0; i < size; ++i) values.push_back(permutation(i));
  return values;
}

}  // namespace

TEST_CASE("A permutation is one to one at every size") {
  for (const std::uint64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 255, 257, 4096, 4097}) {
    auto values = table(size, 11, 5);
    std::sort(values.begin(), values.end());
    for (std::uint64_t i = 0; i < size; ++i) REQUIRE(values[i] == i);
  }
}

TEST_CASE("Seed and stream both key a permutation") {
  const auto base = table(100, 1, 2);
  CHECK(table(100, 1, 2) == base);
  CHECK(table(100, 2, 2) != base);
  CHECK(table(100, 1, 3) != base);
}

TEST_CASE("Every value is equally likely at every place") {
  // Chi-square of the size × size table of counts, (size − 1)² degrees of freedom. The bound is passed by chance less
  // than once in 10⁶ for each size. The keys are fixed, so that it never flickers.
  for (const int size : {2, 3, 6, 10, 17}) {
    constexpr int kKeys = 4000;
    std::vector<int> counts(size * size);
    for (int key = 0; key < kKeys; ++key) {
      const auto values = table(size, 99, key);
      for (int i = 0; i < size; ++i) ++counts[i * size + static_cast<int>(values[i])];
    }
    const double expected = static_cast<double>(kKeys) / size;
    double chi_square = 0.0;
    for (const int count : counts) chi_square += (count - expected) * (count - expected) / expected;
    const double degrees = (size - 1.0) * (size - 1.0);
    // Each permutation fills a whole row and column, which multiplies the statistic by size/(size − 1).
    const double scaled = chi_square * (size - 1.0) / size;
    INFO("size " << size << " chi-square " << scaled);
    CHECK(scaled < degrees + 5.0 * std::sqrt(2.0 * degrees) + 20.0);
  }
}

TEST_CASE("Pairs of neighbours do not stay neighbours") {
  // In a random order of n, 2(n − 1)/n neighbouring values stand side by side on average, about Poisson(2): more than
  // 15 has probability below 2e-9.
  const auto values = table(5000, 3, 4);
  int neighbours = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    neighbours += values[i] + 1 == values[i - 1] || values[i - 1] + 1 == values[i];
  }
  CHECK(neighbours <= 15);
}
