#include "optim/core/traces.hpp"

#include <cmath>
#include <vector>

#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;

namespace {

StepSums sums_of(const std::vector<long double>& p, const std::vector<long double>& g,
                 const std::vector<long double>& d) {
  StepSums s;
  for (size_t i = 0; i < p.size(); ++i) {
    s.grad_sq += static_cast<double>(g[i] * g[i]);
    s.param_sq += static_cast<double>(p[i] * p[i]);
    s.update_sq += static_cast<double>(d[i] * d[i]);
    s.param_update += static_cast<double>(p[i] * d[i]);
    s.grad_update += static_cast<double>(g[i] * d[i]);
  }
  s.count = static_cast<std::int64_t>(p.size());
  return s;
}

}  // namespace

TEST_CASE("traces are the formulas of the sums") {
  const std::vector<long double> p{3, 4}, g{0.6L, 0.8L}, d{-0.4L, 0.3L};
  StepSums s = sums_of(p, g, d);
  s.inv_denom = 6.0;
  const TraceRow row = trace_row({"w", "matrix", "adamw", 0.5, true, s});
  CHECK(std::abs(row.grad_norm - 1.0) < 1e-15);
  CHECK(std::abs(row.param_norm - 5.0) < 1e-15);
  CHECK(std::abs(row.update_norm - 0.5) < 1e-15);
  CHECK(std::abs(row.update_ratio - 0.1) < 1e-15);
  CHECK(std::abs(row.effective_lr - 0.5) < 1e-15);
  CHECK(std::abs(row.adaptive_lr - 1.5) < 1e-15);
  CHECK(std::abs(row.rotation - std::atan(0.1)) < 1e-15);  // Δ ⟂ p
  CHECK(std::abs(row.predicted_decrease) < 1e-15);         // Δ ⟂ g
}

TEST_CASE("small rotations keep their digits") {
  // Angle 1e-7: the cosine is 1 − 5e-15, whose arc cosine would be wrong by 2 %.
  const StepSums s = sums_of({1, 0}, {1, 0}, {0, 1e-7L});
  CHECK(std::abs(trace_row({"w", "matrix", "sgd", 1.0, false, s}).rotation - 1e-7) < 1e-20);
}

TEST_CASE("one element has no angle but 0 and π") {
  const auto rotation = [](long double p, long double d) {
    return trace_row({"beta", "scale.input", "adamw", 1.0, false, sums_of({p}, {1}, {d})}).rotation;
  };
  CHECK(rotation(0.7L, -1e-3L) == 0.0);
  CHECK(rotation(-0.7L, -1e-3L) == 0.0);
  CHECK(rotation(0.7L, -1.4L) == std::acos(-1.0));
  CHECK(std::isnan(rotation(0.7L, -0.7L)));
  CHECK(std::isnan(rotation(0.0L, -0.7L)));
}

TEST_CASE("a rotation below what rounding does to the parameter is left out, in a group too") {
  // At right angles by 1e-9 and 1e-6 of its length; float32 rounds by 3.4e-8 of it.
  const auto with = [](double turn, double spacing) {
    StepSums s = sums_of({1, 0}, {1, 0}, {0, static_cast<long double>(turn)});
    s.rounding_sq = rounding_sq(spacing, s.param_sq);
    return s;
  };
  const auto rotation = [](const StepSums& s) { return trace_row({"w", "matrix", "sgd", 1.0, false, s}).rotation; };
  CHECK(std::isnan(rotation(with(1e-9, 0x1p-23))));
  CHECK(std::abs(rotation(with(1e-6, 0x1p-23)) - 1e-6) < 1e-18);
  CHECK(std::abs(rotation(with(1e-9, 0x1p-52)) - 1e-9) < 1e-22);
  CHECK(std::isnan(rotation(with(1e-3, 0x1p-7))));
  const std::vector<TraceInput> members{{"a", "matrix", "sgd", 1.0, false, with(1e-9, 0x1p-23)},
                                        {"b", "matrix", "sgd", 1.0, false, with(1e-9, 0x1p-52)}};
  CHECK(std::isnan(trace_rows_by_group(members)[0].rotation));
  // What is left when a radial step's sums cancel is rounding of the sums.
  const StepSums radial = sums_of({0.1L, 0.2L, 0.3L}, {1, 1, 1}, {1e-4L, 2e-4L, 3e-4L});
  CHECK(std::isnan(rotation(radial)));
  CHECK(rotation(sums_of({1, 2}, {1, 1}, {0, 0})) == 0.0);
}

TEST_CASE("a ratio to zero is undefined, not infinite") {
  const StepSums s = sums_of({0, 0}, {0, 0}, {1, 1});
  const TraceRow row = trace_row({"w", "matrix", "sgd", 1.0, false, s});
  CHECK(std::isnan(row.update_ratio));
  CHECK(std::isnan(row.effective_lr));
  CHECK(std::isnan(row.rotation));
  CHECK(std::isnan(row.adaptive_lr));
}

TEST_CASE("a group is the concatenation of its members") {
  std::vector<std::vector<long double>> parts[3];
  std::vector<long double> whole[3];
  for (int k = 0; k < 3; ++k)
    for (int part = 0; part < 3; ++part) {
      std::vector<long double> v;
      for (int i = 0; i < 5 + part; ++i)
        v.push_back(random_normal(1, static_cast<std::uint64_t>(10 * k + part), static_cast<std::uint64_t>(i)));
      whole[k].insert(whole[k].end(), v.begin(), v.end());
      parts[k].push_back(v);
    }
  std::vector<TraceInput> inputs;
  for (size_t part = 0; part < 3; ++part)
    inputs.push_back({"p", "matrix", "adamw", 0.1, false, sums_of(parts[0][part], parts[1][part], parts[2][part])});
  inputs.push_back({"q", "scale.input", "sgd", 0.7, false, sums_of({1}, {1}, {1})});
  const auto rows = trace_rows_by_group(inputs);
  REQUIRE(rows.size() == 2);
  const TraceRow direct = trace_row({"matrix", "matrix", "adamw", 0.1, false, sums_of(whole[0], whole[1], whole[2])});
  CHECK(rows[0].name == "matrix");
  CHECK(rows[0].count == 18);
  CHECK(std::abs(rows[0].rotation - direct.rotation) < 1e-14);
  CHECK(std::abs(rows[0].grad_norm - direct.grad_norm) < 1e-14);
  CHECK(std::abs(rows[0].predicted_decrease - direct.predicted_decrease) < 1e-14);
  CHECK(std::abs(rows[0].scheduled_lr - 0.1) < 1e-15);
  CHECK(rows[1].method == "sgd");
}

TEST_CASE("quantiles interpolate linearly") {
  std::vector<double> values{4, 1, 3, 2};
  const double at[] = {0.0, 0.5, 0.25, 1.0};
  const auto q = quantiles(values, at);
  CHECK(q[0] == 1.0);
  CHECK(q[1] == 2.5);
  CHECK(q[2] == 1.75);
  CHECK(q[3] == 4.0);
  std::vector<double> none;
  CHECK(std::isnan(quantiles(none, at)[0]));
}
