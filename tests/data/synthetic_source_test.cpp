#include "experiments/data/synthetic_source.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <vector>

#include "tests/data/batch_rows.hpp"
#include "tests/data/data_support.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using namespace scalevec::test;

namespace {

using Matrix = std::vector<std::vector<double>>;

SyntheticOptions small_language() {
  SyntheticOptions options;
  options.vocab_size = 23;
  options.branching = 5;
  options.mixing = 0.2;
  options.zipf_exponent = 1.3;
  options.seed = 4;
  return options;
}

Matrix transition(const SyntheticSource& source) {
  const auto n = source.vocab_size();
  Matrix p(n, std::vector<double>(n));
  for (std::int64_t c = 0; c < n; ++c) {
    for (std::int64_t t = 0; t < n; ++t) p[c][t] = source.probability(c, t);
  }
  return p;
}

// μ of μP = μ, Σμ = 1, by Gaussian elimination with pivoting on (Pᵀ − I | last row all ones).
std::vector<double> solve_stationary(const Matrix& p) {
  const std::size_t n = p.size();
  Matrix a(n, std::vector<double>(n + 1));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) a[i][j] = i + 1 == n ? 1.0 : p[j][i] - (i == j ? 1.0 : 0.0);
  }
  a[n - 1][n] = 1.0;
  for (std::size_t col = 0; col < n; ++col) {
    std::size_t pivot = col;
    for (std::size_t row = col; row < n; ++row) {
      if (std::abs(a[row][col]) > std::abs(a[pivot][col])) pivot = row;
    }
    std::swap(a[col], a[pivot]);
    for (std::size_t row = 0; row < n; ++row) {
      if (row == col) continue;
      const double factor = a[row][col] / a[col][col];
      for (std::size_t k = col; k <= n; ++k) a[row][k] -= factor * a[col][k];
    }
  }
  std::vector<double> mu(n);
  for (std::size_t i = 0; i < n; ++i) mu[i] = a[i][n] / a[i][i];
  return mu;
}

double zipf_weight(std::int64_t rank, std::int64_t count, double exponent) {
  double sum = 0.0;
  for (std::int64_t r = 1; r <= count; ++r) sum += 1.0 / std::pow(r, exponent);
  return 1.0 / std::pow(rank + 1, exponent) / sum;
}

}  // namespace

TEST_CASE("Transitions are the documented mixture of Zipf distributions") {
  const SyntheticOptions o = small_language();
  const SyntheticSource source(o, 1);
  std::set<Ids> orders;
  for (std::int64_t c = 0; c < o.vocab_size; ++c) {
    double total = 0.0;
    std::vector<std::pair<double, std::int64_t>> excess;
    for (std::int64_t t = 0; t < o.vocab_size; ++t) {
      total += source.probability(c, t);
      excess.emplace_back(source.probability(c, t) - o.mixing * zipf_weight(t, o.vocab_size, o.zipf_exponent), t);
    }
    CHECK(std::abs(total - 1.0) <= 1e-14);
    std::sort(excess.rbegin(), excess.rend());
    Ids order;
    for (std::int64_t r = 0; r < o.vocab_size; ++r) {
      const double expected = r < o.branching ? 0.8 * zipf_weight(r, o.branching, o.zipf_exponent) : 0.0;
      CHECK(std::abs(excess[r].first - expected) <= 1e-15);
      if (r < o.branching) order.push_back(excess[r].second);
    }
    orders.insert(order);
  }
  // 23 draws from 23·22·21·20·19 ordered choices: two alike has probability below 7e-5, and the key is fixed.
  CHECK(orders.size() == 23);
}

TEST_CASE("The entropy floor is that of the chain, computed by brute force") {
  SyntheticOptions uniform, bigram_free, sparse;
  uniform.vocab_size = 2, uniform.branching = 2, uniform.zipf_exponent = 0.0;
  bigram_free.vocab_size = 40, bigram_free.mixing = 1.0;
  sparse.vocab_size = 60, sparse.branching = 1, sparse.mixing = 0.01, sparse.zipf_exponent = 2.0;
  for (const SyntheticOptions& options : {small_language(), uniform, bigram_free, sparse}) {
    const SyntheticSource source(options, 1);
    const Matrix p = transition(source);
    const std::vector<double> mu = solve_stationary(p);
    double entropy = 0.0;
    for (std::size_t c = 0; c < p.size(); ++c) {
      CHECK(std::abs(mu[c] - source.stationary()[c]) <= 1e-12);
      for (const double x : p[c]) entropy -= mu[c] * x * std::log(x);
    }
    CHECK(std::abs(source.entropy_floor() - entropy) <= 1e-11);
  }
  CHECK(std::abs(SyntheticSource(uniform, 0).entropy_floor() - std::log(2.0)) <= 1e-14);
}

TEST_CASE("Text follows the chain: its log loss is the floor, its tokens the stationary distribution") {
  const SyntheticSource source(small_language(), 77);
  constexpr int kRows = 2000, kLength = 50;
  const Matrix p = transition(source);
  const auto check = [&](const Ids& ids) {
    // Rows are independent, so the mean of their losses is normal to good accuracy; first and last tokens are checked
    // separately. 5 standard errors are passed by chance less than once in 10⁶.
    double sum = 0.0, sum_sq = 0.0;
    std::vector<double> first(p.size()), last(p.size());
    for (int row = 0; row < kRows; ++row) {
      const std::int64_t* x = &ids[row * (kLength + 1)];
      double loss = 0.0;
      for (int i = 0; i < kLength; ++i) loss -= std::log(p[x[i]][x[i + 1]]) / kLength;
      sum += loss;
      sum_sq += loss * loss;
      first[x[0]] += 1.0;
      last[x[kLength]] += 1.0;
    }
    const double mean = sum / kRows;
    const double error = std::sqrt((sum_sq / kRows - mean * mean) / kRows);
    INFO("mean loss " << mean << " ± " << error << ", floor " << source.entropy_floor());
    CHECK(std::abs(mean - source.entropy_floor()) <= 5.0 * error);
    // Chi-square with 22 degrees of freedom: above 80 with probability 2e-8.
    for (const auto& counts : {first, last}) {
      double chi_square = 0.0;
      for (std::size_t t = 0; t < counts.size(); ++t) {
        const double expected = kRows * source.stationary()[t];
        chi_square += (counts[t] - expected) * (counts[t] - expected) / expected;
      }
      CHECK(chi_square <= 80.0);
    }
  };
  check(train_rows(source, 3, kRows, 0, kRows, kLength));

  SyntheticOptions options = small_language();
  options.validation_windows = kRows;
  Ids validation(kRows * (kLength + 1));
  SyntheticSource(options, 77).validation_rows(0, kRows, kLength, validation.data());
  check(validation);
}

TEST_CASE("Synthetic batches are functions of seed and window") {
  const SyntheticOptions options = small_language();
  const SyntheticSource source(options, 5), again(options, 5), other_seed(options, 6);
  const Ids whole = train_rows(source, 7, 6, 0, 6, 8);
  CHECK(train_rows(again, 7, 6, 0, 6, 8) == whole);
  CHECK(train_rows(source, 14, 3, 0, 3, 8) == Ids(whole.begin(), whole.begin() + 27));
  CHECK(train_rows(source, 7, 6, 2, 4, 8) == Ids(whole.begin() + 18, whole.end()));
  CHECK(train_rows(source, 8, 6, 0, 6, 8) != whole);
  CHECK(train_rows(other_seed, 7, 6, 0, 6, 8) != whole);

  // The data seed moves neither the language nor its validation text.
  Ids validation(6 * 9), other_validation(6 * 9);
  source.validation_rows(0, 6, 8, validation.data());
  other_seed.validation_rows(0, 6, 8, other_validation.data());
  CHECK(validation == other_validation);
  CHECK(source.entropy_floor() == other_seed.entropy_floor());
  CHECK(source.data_hash() == other_seed.data_hash());

  SyntheticOptions other_language = options;
  other_language.seed = 99;
  CHECK(transition(SyntheticSource(other_language, 5)) != transition(source));
  CHECK(SyntheticSource(other_language, 5).data_hash() != source.data_hash());
}

TEST_CASE("Training and validation text are different streams even under one seed") {
  SyntheticOptions options;
  options.seed = 5;
  const SyntheticSource source(options, 5);
  std::set<Ids> rows;
  for (std::int64_t r = 0; r < 100; ++r) {
    Ids row(33);
    source.validation_rows(r, 1, 32, row.data());
    rows.insert(row);
    rows.insert(train_rows(source, 0, 100, r, 1, 32));
  }
  CHECK(rows.size() == 200);
}

TEST_CASE("Synthetic options and vocabularies are checked") {
  const auto refusal = [](auto change) {
    SyntheticOptions options;
    change(options);
    return message_of<ConfigError>([&] { SyntheticSource(options, 0); });
  };
  CHECK(contains(refusal([](auto& o) { o.vocab_size = 1; }), "vocab_size: got 1; allowed: an integer, [2, 65536]"));
  CHECK(contains(refusal([](auto& o) { o.branching = 257; }), "branching: got 257; allowed: at most vocab_size, 256"));
  CHECK(contains(refusal([](auto& o) { o.mixing = 0.0; }), "mixing: got 0; allowed: a number, [0.01, 1]"));
  CHECK(contains(refusal([](auto& o) { o.zipf_exponent = std::nan(""); }),
                 "zipf_exponent: got nan; allowed: a number, [0, 10]"));
  CHECK(contains(refusal([](auto& o) { o.validation_windows = 0; }),
                 "validation_windows: got 0; allowed: an integer, [1, 1e+12]"));

  const SyntheticSource source(SyntheticOptions{}, 0);
  CHECK_NOTHROW(source.check_vocabulary(256));
  CHECK(contains(message_of([&] { source.check_vocabulary(255); }), "ids up to 255; allowed: 0 to 254"));
  Ids row(9);
  CHECK(contains(message_of<std::out_of_range>([&] { source.validation_rows(256, 1, 8, row.data()); }), "within 256"));
}
