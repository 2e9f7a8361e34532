#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "models/kernels/cuda/row_launches.hpp"
#include "tests/cuda/noted_values.hpp"
#include "tests/support/catch.hpp"

// The fused operators' kernels against plain loops in double precision, on the emulated device and on a GPU.
namespace scalevec::cuda_test {

namespace rows = models::kernels::cuda;
using rows::Bf16;
using rows::Type;
using Values = std::vector<double>;

// Where the kernels run: memory that they see, and how values get there and back.
struct Backend {
  const rows::RowLaunches* launches;
  std::function<std::shared_ptr<void>(std::size_t)> allocate;
  std::function<void(void* to, const void* from, std::size_t)> copy;  // either way; waits for the kernels
};

// Numbers of one of the types, on the device. `shift` elements in front move it off the alignment of vectors.
class Array {
 public:
  Array(const Backend& backend, const Values& values, Type type, std::int64_t shift = 0)
      : backend_(&backend), type_(type), size_(values.size()), shift_(shift) {
    memory_ = backend.allocate((size_ + static_cast<std::size_t>(shift)) * width() + 16);
    std::vector<unsigned char> bytes(size_ * width());
    for (std::size_t i = 0; i < size_; ++i) {
      const auto x = static_cast<float>(values[i]);
      Bf16 half;
      kernels::store(half, x);
      std::memcpy(&bytes[i * width()], type == Type::float32 ? static_cast<const void*>(&x) : &half, width());
    }
    if (size_ > 0) backend.copy(data(), bytes.data(), bytes.size());
  }
  // NaN, so that what a kernel does not write shows.
  Array(const Backend& backend, std::int64_t size, Type type, std::int64_t shift = 0)
      : Array(backend, Values(static_cast<std::size_t>(size), NAN), type, shift) {}

  void* data() const { return static_cast<unsigned char*>(memory_.get()) + static_cast<std::size_t>(shift_) * width(); }
  float* floats() const { return static_cast<float*>(data()); }
  rows::RowsIn in(std::int64_t stride) const { return {data(), type_, stride}; }
  rows::RowsOut out() const { return {data(), type_}; }

  Values get() const {
    std::vector<unsigned char> bytes(size_ * width());
    if (size_ > 0) backend_->copy(bytes.data(), data(), bytes.size());
    Values values(size_);
    for (std::size_t i = 0; i < size_; ++i) {
      float x = 0.0f;
      Bf16 half;
      std::memcpy(type_ == Type::float32 ? static_cast<void*>(&x) : &half, &bytes[i * width()], width());
      values[i] = type_ == Type::float32 ? x : kernels::load(half);
    }
    note_values(static_cast<std::int64_t>(width()), values);
    return values;
  }

 private:
  std::size_t width() const { return type_ == Type::float32 ? 4 : 2; }

  const Backend* backend_;
  Type type_;
  std::size_t size_;
  std::int64_t shift_;
  std::shared_ptr<void> memory_;
};

struct RowShape {
  std::int64_t n, d;
  std::int64_t padding = 0;  // between rows of the inputs
  std::int64_t shift = 0;
};

// One row, odd widths, widths that are no multiple of the vector, more columns than a block's threads hold, more rows
// than there are partial sums, rows apart, and rows off the alignment.
inline const std::vector<RowShape> kRowShapes{{1, 1},        {1, 8},      {3, 7},    {67, 40},      {5, 768, 8},
                                              {2, 1001},     {2, 8200},   {1, 5003}, {2100, 16},    {9, 96, 3},
                                              {4, 64, 0, 1}, {130, 1032}, {0, 8},    {1, 16400, 8}, {20, 4104}};

// Normal, with one row of zeros, one of huge and one of tiny values where there are enough rows.
inline Values draw(std::int64_t n, std::int64_t d, std::uint64_t seed, bool extremes = false) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> gauss;
  Values values(static_cast<std::size_t>(n * d));
  for (double& v : values) v = gauss(random);
  if (!extremes) return values;
  const double by[] = {1.0, 0.0, 1e15, 1e-15};
  for (std::int64_t r = 0; r < n && r < 4; ++r)
    for (std::int64_t j = 0; j < d; ++j) values[static_cast<std::size_t>(r * d + j)] *= n > 1 ? by[r] : 1.0;
  return values;
}

// Rows of d within rows of d + padding.
inline Values spread(const Values& values, std::int64_t d, std::int64_t padding) {
  Values out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    out.push_back(values[i]);
    if ((static_cast<std::int64_t>(i) + 1) % d == 0) out.insert(out.end(), static_cast<std::size_t>(padding), 1e9);
  }
  return out;
}

// The values as the type stores them.
inline Values stored(const Values& values, Type type) {
  Values out;
  for (const double v : values) {
    Bf16 half;
    kernels::store(half, static_cast<float>(v));
    out.push_back(type == Type::float32 ? static_cast<float>(v) : kernels::load(half));
  }
  return out;
}

// An input in a type, on the device and as the reference sees it.
struct Input {
  Values values;
  Array array;
  std::int64_t stride;

  Input(const Backend& b, const Values& drawn, Type type, const RowShape& s)
      : values(stored(drawn, type)), array(b, spread(values, s.d, s.padding), type, s.shift), stride(s.d + s.padding) {}
  rows::RowsIn in() const { return array.in(stride); }
};

// Largest difference in rows of d, relative to the row's entry of `scale`; 0 where a row is as it should be.
inline double row_gap(const Values& got, const Values& want, std::int64_t d, const Values& scale) {
  REQUIRE(got.size() == want.size());
  double worst = 0.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double off = std::abs(got[i] - want[i]);
    if (std::isnan(off)) return std::numeric_limits<double>::infinity();
    if (off > 0.0) worst = std::max(worst, off / scale[i / static_cast<std::size_t>(d)]);
  }
  return worst;
}

inline Values row_max(const Values& values, std::int64_t d) {
  Values out(values.size() / static_cast<std::size_t>(d), 0.0);
  for (std::size_t i = 0; i < values.size(); ++i)
    out[i / static_cast<std::size_t>(d)] = std::max(out[i / static_cast<std::size_t>(d)], std::abs(values[i]));
  return out;
}

inline double row_gap(const Values& got, const Values& want, std::int64_t d) {
  return row_gap(got, want, d, row_max(want, d));
}

// Rounding of a result of the type, on top of sums in float32 over rows of some thousand.
inline double tolerance(Type type) { return type == Type::float32 ? 4e-6 : 1.0 / 256 + 4e-6; }

inline double rstd_of(const Values& x, std::int64_t r, std::int64_t d, double eps) {
  double square = 0.0;
  for (std::int64_t j = 0; j < d; ++j)
    square += x[static_cast<std::size_t>(r * d + j)] * x[static_cast<std::size_t>(r * d + j)];
  return 1.0 / std::sqrt(square / static_cast<double>(d) + eps);
}

// The gradient of the norm's input from that of its output, t, for one row: adds to dx.
inline void norm_gradient(const double* x, const double* t, double rstd, std::int64_t d, double* dx) {
  double dot = 0.0;
  for (std::int64_t j = 0; j < d; ++j) dot += t[j] * x[j] * rstd;
  for (std::int64_t j = 0; j < d; ++j) dx[j] += rstd * (t[j] - x[j] * rstd * dot / static_cast<double>(d));
}

struct NormTypes {
  Type x, y;
};

inline void check_norm(const Backend& b) {
  const double eps = 1e-5;
  const auto f = Type::float32, h = Type::bfloat16;
  for (const RowShape& s : kRowShapes)
    for (const auto& [x_type, y_type] : {NormTypes{f, f}, {f, h}, {h, h}, {h, f}})
      for (const int form : {0, 1}) {
        const bool with_gamma = form == 1;
        INFO(s.n << " x " << s.d << ", padding " << s.padding << ", shift " << s.shift << ", types "
                 << static_cast<int>(x_type) << static_cast<int>(y_type) << ", gamma " << with_gamma);
        const Input x(b, draw(s.n, s.d, 1, true), x_type, s);
        const Values gamma = stored(draw(1, s.d, 2), f);
        const Array scale(b, gamma, f), y(b, s.n * s.d, y_type), rstd(b, s.n, f);
        b.launches->norm({x.in(),
                          {},
                          with_gamma ? scale.floats() : nullptr,
                          {},
                          y.out(),
                          rstd.floats(),
                          static_cast<float>(eps),
                          s.n,
                          s.d},
                         nullptr);
        Values want, want_rstd;
        for (std::int64_t r = 0; r < s.n; ++r) {
          want_rstd.push_back(rstd_of(x.values, r, s.d, eps));
          for (std::int64_t j = 0; j < s.d; ++j)
            want.push_back(x.values[static_cast<std::size_t>(r * s.d + j)] * want_rstd.back() *
                           (with_gamma ? gamma[static_cast<std::size_t>(j)] : 1.0));
        }
        CHECK(row_gap(y.get(), want, s.d) <= tolerance(y_type));
        CHECK(row_gap(rstd.get(), want_rstd, 1) <= 4e-6);
      }
}

inline void check_norm_of_sum(const Backend& b) {
  const double eps = 1e-5;
  struct Types {
    Type x, add, y;
  };
  const auto f = Type::float32, h = Type::bfloat16;
  for (const RowShape& s : kRowShapes)
    for (const auto& [x_type, add_type, y_type] : {Types{f, f, f}, {f, f, h}, {f, h, f}, {f, h, h}, {h, h, h}}) {
      INFO(s.n << " x " << s.d << ", padding " << s.padding << ", types " << static_cast<int>(x_type)
               << static_cast<int>(add_type) << static_cast<int>(y_type));
      const Input x(b, draw(s.n, s.d, 1, true), x_type, s), add(b, draw(s.n, s.d, 3, true), add_type, s);
      const Values gamma = stored(draw(1, s.d, 2), f);
      const Array scale(b, gamma, f), sum(b, s.n * s.d, x_type), y(b, s.n * s.d, y_type), rstd(b, s.n, f);
      b.launches->norm(
          {x.in(), add.in(), scale.floats(), sum.out(), y.out(), rstd.floats(), static_cast<float>(eps), s.n, s.d},
          nullptr);
      Values both;
      for (std::size_t i = 0; i < x.values.size(); ++i)
        both.push_back(static_cast<float>(x.values[i]) + static_cast<float>(add.values[i]));
      both = stored(both, x_type);
      Values want;
      for (std::int64_t r = 0; r < s.n; ++r) {
        const double by = rstd_of(both, r, s.d, eps);
        for (std::int64_t j = 0; j < s.d; ++j)
          want.push_back(both[static_cast<std::size_t>(r * s.d + j)] * by * gamma[static_cast<std::size_t>(j)]);
      }
      CHECK(sum.get() == both);
      CHECK(row_gap(y.get(), want, s.d) <= tolerance(y_type));
    }
}

// Sums over rows of terms whose absolute values add up to `scale`.
inline double sum_gap(const Values& got, const Values& want, const Values& scale) {
  return row_gap(got, want, 1, scale);
}

inline void check_norm_backward(const Backend& b) {
  struct Types {
    Type grad, x;
  };
  const auto f = Type::float32, h = Type::bfloat16;
  for (const RowShape& s : kRowShapes)
    for (const auto& [g_type, x_type] : {Types{f, f}, {h, f}, {h, h}, {f, h}})
      for (const bool with_gamma : {false, true})
        for (const bool with_more : {false, true}) {
          INFO(s.n << " x " << s.d << ", padding " << s.padding << ", types " << static_cast<int>(g_type)
                   << static_cast<int>(x_type) << ", gamma " << with_gamma << ", more " << with_more);
          const auto n = static_cast<std::size_t>(s.n), d = static_cast<std::size_t>(s.d);
          const Type saved_type = with_gamma ? x_type : g_type;
          const Input grad(b, draw(s.n, s.d, 5), g_type, s), saved(b, draw(s.n, s.d, 1, with_gamma), saved_type, s),
              more(b, draw(s.n, s.d, 4), x_type, s);
          const Values gamma = stored(draw(1, s.d, 2), f);
          Values by;
          for (std::int64_t r = 0; r < s.n; ++r)
            by.push_back(with_gamma ? rstd_of(saved.values, r, s.d, 1e-5) : 0.5 + 0.1 * static_cast<double>(r % 7));
          by = stored(by, f);
          const Array scale(b, gamma, f), rstd(b, by, f), dx(b, s.n * s.d, x_type), rounded(b, s.n * s.d, h),
              parts(b, std::min(s.n, rows::kMaxParts) * s.d, f), dgamma(b, s.d, f);
          b.launches->norm_backward(
              {grad.in(), saved.in(), with_more ? more.in() : rows::RowsIn{}, with_gamma ? scale.floats() : nullptr,
               rstd.floats(), dx.out(), with_more ? static_cast<Bf16*>(rounded.data()) : nullptr, parts.floats(),
               with_gamma ? dgamma.floats() : nullptr, s.n, s.d},
              nullptr);
          Values want(n * d), want_gamma(d), gamma_scale(d), row_scale;
          for (std::size_t r = 0; r < n; ++r) {
            Values t(d), u(d);
            double most = 0.0, other = 0.0;
            for (std::size_t j = 0; j < d; ++j) {
              const double g = grad.values[r * d + j];
              u[j] = with_gamma ? saved.values[r * d + j] * by[r] : saved.values[r * d + j];
              t[j] = with_gamma ? g * gamma[j] : g;
              want_gamma[j] += g * u[j];
              gamma_scale[j] += std::abs(g * u[j]);
              most = std::max(most, std::abs(t[j]));
              if (with_more) {
                want[r * d + j] = more.values[r * d + j];
                other = std::max(other, std::abs(more.values[r * d + j]));
              }
            }
            double dot = 0.0, size = 0.0;
            for (std::size_t j = 0; j < d; ++j) dot += t[j] * u[j], size = std::max(size, std::abs(u[j]));
            for (std::size_t j = 0; j < d; ++j) want[r * d + j] += by[r] * (t[j] - u[j] * dot / static_cast<double>(d));
            row_scale.push_back(by[r] * (most + size * size * most) + other);
          }
          CHECK(row_gap(dx.get(), want, s.d, row_scale) <= tolerance(x_type));
          if (with_more) CHECK(row_gap(rounded.get(), want, s.d, row_scale) <= tolerance(h));
          if (with_gamma && s.n > 0) CHECK(sum_gap(dgamma.get(), want_gamma, gamma_scale) <= 4e-6);
        }
}

inline void check_radial(const Backend& b) {
  for (const std::int64_t d : {1, 37, 768, 5000})
    for (const bool exponential : {false, true}) {
      INFO("d " << d << ", exponential " << exponential);
      const Values alpha = stored(draw(1, d, 1), Type::float32), grad = stored(draw(1, d, 2), Type::float32);
      const Array a(b, alpha, Type::float32), g(b, grad, Type::float32), m(b, Values{1.25}, Type::float32),
          gamma(b, d, Type::float32), dalpha(b, d, Type::float32), dm(b, 1, Type::float32);
      b.launches->radial({a.floats(), m.floats(), exponential, gamma.floats(), d}, nullptr);
      b.launches->radial_backward({g.floats(), a.floats(), m.floats(), exponential, dalpha.floats(), dm.floats(), d},
                                  nullptr);
      const double by = rstd_of(alpha, 0, d, 0.0), factor = exponential ? std::exp(1.25) : 1.25;
      Values want, t, want_alpha(static_cast<std::size_t>(d));
      double want_m = 0.0, m_scale = 0.0, most = 0.0;
      for (std::size_t j = 0; j < alpha.size(); ++j) {
        want.push_back(factor * alpha[j] * by);
        t.push_back(factor * grad[j]);
        const double along = grad[j] * alpha[j] * by * (exponential ? factor : 1.0);
        want_m += along;
        m_scale += std::abs(along);
        most = std::max(most, std::abs(t[j]));
      }
      norm_gradient(alpha.data(), t.data(), by, d, want_alpha.data());
      CHECK(row_gap(gamma.get(), want, d) <= 4e-6);
      CHECK(row_gap(dalpha.get(), want_alpha, d, {by * most}) <= 4e-6);
      CHECK(row_gap(dm.get(), {want_m}, 1, {m_scale}) <= 4e-6);
    }
}

}  // namespace scalevec::cuda_test
