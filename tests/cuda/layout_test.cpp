#include "optim/cuda/layout.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "tests/support/catch.hpp"

namespace {

using namespace scalevec;
using namespace scalevec::cuda;
using kernels::kChunk;

// Empty tensors first, last and between; sizes around a pass, a chunk and several chunks.
std::vector<std::int64_t> awkward_sizes() {
  return {0,      0,          1, kPass - 1,  kPass,           kPass + 1, 0, kChunk - 1,
          kChunk, kChunk + 1, 0, 3 * kChunk, 3 * kChunk + 17, 255,       0};
}

// What one block of kThreads threads adds up from `values`, in the kernels' order.
double emulate_block(const std::vector<double>& values, Range range) {
  double row[kThreads];
  for (int thread = 0; thread < kThreads; ++thread) {
    row[thread] = 0.0;
    for (std::int64_t pass = 0; pass < passes_of(range); ++pass)
      for (int lane = 0; lane < kLanes; ++lane) {
        const std::int64_t i = element(range, pass, lane, thread);
        if (i < range.end) row[thread] += values[static_cast<std::size_t>(i)];
      }
  }
  for (int width = kThreads / 2; width > 0; width /= 2)
    for (int thread = 0; thread < kThreads; ++thread) add_half(row, thread, width);
  return row[0];
}

}  // namespace

TEST_CASE("Blocks and threads cover every element of every tensor exactly once") {
  const auto sizes = awkward_sizes();
  const auto tensors = static_cast<std::int64_t>(sizes.size());
  const auto first = first_units(sizes);
  REQUIRE(first.size() == sizes.size() + 1);
  std::vector<std::vector<int>> visits;
  for (const auto size : sizes) visits.emplace_back(static_cast<std::size_t>(size), 0);
  std::int64_t outside = 0;
  for (std::int64_t unit = 0; unit < first.back(); ++unit) {
    const std::int64_t tensor = tensor_of_unit(first.data(), tensors, unit);
    const auto t = static_cast<std::size_t>(tensor);
    REQUIRE(first[t] <= unit);
    REQUIRE(unit < first[t + 1]);
    const Range range = unit_range(unit - first[t], sizes[t]);
    REQUIRE(range.begin < range.end);
    REQUIRE(range.end - range.begin <= kChunk);
    for (std::int64_t pass = 0; pass < passes_of(range); ++pass)
      for (int lane = 0; lane < kLanes; ++lane)
        for (int thread = 0; thread < kThreads; ++thread) {
          const std::int64_t i = element(range, pass, lane, thread);
          if (i >= range.end) continue;
          if (i < range.begin)
            ++outside;
          else
            ++visits[t][static_cast<std::size_t>(i)];
        }
  }
  CHECK(outside == 0);
  for (std::size_t t = 0; t < sizes.size(); ++t) {
    INFO("tensor " << t << " of size " << sizes[t]);
    CHECK(std::all_of(visits[t].begin(), visits[t].end(), [](int n) { return n == 1; }));
  }
}

TEST_CASE("The unit of a tensor is found among random lists with empty tensors") {
  std::mt19937_64 random(11);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<std::int64_t> sizes(1 + random() % 40);
    for (auto& size : sizes) size = random() % 3 == 0 ? 0 : static_cast<std::int64_t>(random() % (5 * kChunk));
    const auto first = first_units(sizes);
    std::vector<std::int64_t> owner;
    for (std::size_t t = 0; t < sizes.size(); ++t)
      for (std::int64_t begin = 0; begin < sizes[t]; begin += kChunk) owner.push_back(static_cast<std::int64_t>(t));
    REQUIRE(first.back() == static_cast<std::int64_t>(owner.size()));
    bool same = true;
    for (std::size_t u = 0; u < owner.size(); ++u)
      same = same && tensor_of_unit(first.data(), static_cast<std::int64_t>(sizes.size()),
                                    static_cast<std::int64_t>(u)) == owner[u];
    CHECK(same);
  }
  CHECK(first_units({}) == std::vector<std::int64_t>{0});
  // Beyond 32 bits.
  const std::vector<std::int64_t> huge{std::int64_t{1} << 40, 5};
  const auto first = first_units(huge);
  CHECK(tensor_of_unit(first.data(), 2, first[1] - 1) == 0);
  CHECK(tensor_of_unit(first.data(), 2, first[1]) == 1);
  CHECK(unit_range(first[1] - 1, huge[0]).end == huge[0]);
}

TEST_CASE("The block's order of addition gives the sum") {
  std::mt19937_64 random(12);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  for (const std::int64_t size : awkward_sizes()) {
    std::vector<double> values(static_cast<std::size_t>(size));
    for (double& v : values) v = uniform(random);
    const long double plain = std::accumulate(values.begin(), values.end(), 0.0L);
    double total = 0.0;
    for (std::int64_t u = 0; u < units_of(size); ++u) total += emulate_block(values, unit_range(u, size));
    // 2^-53 times the depth of the sum, some 80 additions and halvings a block, times Σ|v| ≤ size.
    CHECK(std::abs(total - static_cast<double>(plain)) <= 100 * 1.2e-16 * static_cast<double>(size));
  }
}

TEST_CASE("The sum over tensors is exact to 1e-12 and the same in any order") {
  std::mt19937_64 random(13);
  for (const double scale : {1.0, 1e-290, 1e290, 1e-320}) {
    for (const std::size_t n : {std::size_t{1}, std::size_t{2}, std::size_t{1000}, std::size_t{4096}}) {
      std::vector<double> values(n);
      for (double& v : values)
        v = scale * std::exp2(-static_cast<double>(random() % 40)) * (1 + static_cast<double>(random() % 1000));
      const auto sum = [&] {
        const int shift = sum_shift(*std::max_element(values.begin(), values.end()), static_cast<std::int64_t>(n));
        std::int64_t total = 0;
        for (const double v : values) total += to_integer(v, shift);
        return from_integer(total, shift);
      };
      const double once = sum();
      const long double plain = std::accumulate(values.begin(), values.end(), 0.0L);
      INFO("scale " << scale << ", n " << n);
      CHECK(std::abs(static_cast<long double>(once) - plain) <= 1e-12L * plain + 5e-324L);
      std::shuffle(values.begin(), values.end(), random);
      CHECK(sum() == once);
    }
  }
  // As many maxima as fit: no overflow.
  for (const std::int64_t n : {1, 2, 3, 1023, 1024, 1025}) {
    const double max = std::nextafter(8.0, 0.0);
    CHECK(n * std::ldexp(max, sum_shift(max, n)) < 9.2e18);
  }
  CHECK(from_integer(to_integer(0.0, sum_shift(0.0, 3)), sum_shift(0.0, 3)) == 0.0);
}

TEST_CASE("bfloat16 rounds to nearest, ties to even, and keeps NaN and infinity") {
  const auto rounded = [](float x) {
    Bf16 b;
    store(b, x);
    return load(b);
  };
  // 8 significant bits: between 1 and 2 the spacing is 2^-7.
  CHECK(rounded(1.0f + 0x1p-8f) == 1.0f);
  CHECK(rounded(1.0f + 3 * 0x1p-8f) == 1.0f + 2 * 0x1p-7f);
  CHECK(rounded(1.0f + 0x1p-8f + 0x1p-20f) == 1.0f + 0x1p-7f);
  CHECK(rounded(-0.15625f) == -0.15625f);
  CHECK(rounded(std::numeric_limits<float>::max()) == std::numeric_limits<float>::infinity());
  CHECK(rounded(-std::numeric_limits<float>::infinity()) == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN())));
}
