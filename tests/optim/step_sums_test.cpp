#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "optim/core/random.hpp"
#include "optim/core/traces.hpp"
#include "optim/kernels/library_rules.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;

// Step sums where what is asked for is a small difference of large terms, against long doubles over the stored values.
namespace {

const kernels::ParallelFor kSerial = [](std::int64_t count, const std::function<void(std::int64_t)>& body) {
  for (std::int64_t i = 0; i < count; ++i) body(i);
};

struct Truth {
  long double rotation, predicted_decrease, param_norm, grad_norm, update_norm;
};

template <class T>
Truth truth_of(const std::vector<T>& before, const std::vector<T>& after, const std::vector<T>& grad) {
  // |p × q|/‖p‖ by the part of q across p, element by element: nothing large is subtracted from something large.
  long double pp = 0, pq = 0, across = 0, gd = 0, gg = 0, dd = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    pp += static_cast<long double>(before[i]) * before[i];
    pq += static_cast<long double>(before[i]) * after[i];
    const long double delta = static_cast<long double>(after[i]) - before[i];
    gd += grad[i] * delta;
    gg += static_cast<long double>(grad[i]) * grad[i];
    dd += delta * delta;
  }
  for (std::size_t i = 0; i < before.size(); ++i) {
    const long double r = after[i] - pq / pp * before[i];
    across += r * r;
  }
  return {atan2l(sqrtl(across), pq / sqrtl(pp)), -gd, sqrtl(pp), sqrtl(gg), sqrtl(dd)};
}

template <class T>
void check(kernels::Dtype dtype, std::int64_t size, double shrink, double lr, double unit = 1.0) {
  std::vector<T> p(static_cast<std::size_t>(size)), g(p.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] = static_cast<T>(unit + 0.3 * unit * random_normal(1, 7, i));
    // Half of the terms of Σ g·Δ against the other half.
    g[i] = static_cast<T>((i % 2 ? unit : -unit) + 1e-3 * unit * random_normal(1, 8, i));
  }
  const std::vector<T> before = p;
  rules::Decay<double> decay;
  decay.shrink = shrink;
  kernels::Job job;
  job.rule = kernels::make_rule<methods::SGD>(kernels::library_loops<methods::SGD>(0), decay, {lr, 0.0, 1.0, 0.0});
  job.dtype = dtype;
  job.param = p.data();
  job.grad = g.data();
  job.size = size;
  std::vector<StepSums> sums(1);
  kernels::step({&job, 1}, sums, kSerial);
  const Truth truth = truth_of(before, p, g);
  const TraceRow row = trace_row({"w", "scale.input", "sgd", lr, false, sums[0]});
  // What the type's rounding turns the tensor by, and what rounding of the sums leaves where |p × Δ|² cancels.
  const bool single = sizeof(T) == 4;
  const double spacing = single ? 0x1p-23 : 0x1p-52;
  const double floor = std::max(spacing / std::sqrt(12.0), std::sqrt(64 * 0x1p-52) * row.update_ratio);
  const double sine = static_cast<double>(truth.rotation) / row.update_ratio;
  // docs/traces.md. Float sums are good to 1e-6, of which cos² of ¾ makes 7.5e-6; the error of double sums is of
  // |p × Δ|², and the angle is its root.
  const double tolerance = (single ? 7.5e-6 : 1e-9) + 32 * 0x1p-52 / (sine * sine);
  INFO("size " << size << ", shrink " << shrink << ", lr " << lr << ": " << row.rotation << " for "
               << static_cast<double>(truth.rotation));
  if (size == 1)
    CHECK(row.rotation == 0.0);
  else if (truth.rotation > 1.05 * floor)
    CHECK(std::abs(row.rotation / static_cast<double>(truth.rotation) - 1.0) <= tolerance);
  else
    CHECK((std::isnan(row.rotation) || truth.rotation > 0.95 * floor));
  for (const auto& [norm, true_norm] : {std::pair{row.param_norm, truth.param_norm},
                                        {row.grad_norm, truth.grad_norm},
                                        {row.update_norm, truth.update_norm}})
    CHECK(std::abs(norm - static_cast<double>(true_norm)) <= (single ? 1e-6 : 1e-12) * static_cast<double>(true_norm));
  const double scale = row.update_norm * row.grad_norm, decrease = static_cast<double>(truth.predicted_decrease);
  const double off = std::abs(row.predicted_decrease - decrease);
  CHECK(off <= (single ? 1e-6 : 1e-12) * scale);
  // One block of every instruction set.
  if (size <= 128 && std::abs(decrease) < 1e-3 * scale) CHECK(off <= 1e-12 * scale);
}

}  // namespace

TEST_CASE("rotations and decreases keep their digits where steps are nearly radial", "[elementwise]") {
  for (const std::int64_t size : {1, 2, 32, 100, 1000, 40000})
    for (const double shrink : {1e-1, 1e-3})
      for (const double lr : {1e-3, 1e-5, 1e-6, 1e-7, 0.0}) {
        check<float>(kernels::Dtype::float32, size, shrink, lr);
        check<double>(kernels::Dtype::float64, size, shrink, lr);
      }
}

TEST_CASE("norms and rotations of values whose squares no float holds", "[elementwise]") {
  for (const std::int64_t size : {1, 100, 40000})
    for (const double unit : {1e25, 1e-25})
      for (const double lr : {1e-1, 1e-5}) {
        check<float>(kernels::Dtype::float32, size, 1e-3, lr, unit);
        check<double>(kernels::Dtype::float64, size, 1e-3, lr, unit);
      }
}
