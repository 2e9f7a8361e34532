#include "theory/dense.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace scalevec::theory {
namespace {

// Four partial sums: a single one would wait for itself.
double dot(const double* a, const double* b, std::size_t n) {
  double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < n; ++i) s0 += a[i] * b[i];
  return (s0 + s1) + (s2 + s3);
}

// Turns x into the unit-free vector v with (I − vvᵀ)x = (value, 0, …), ‖v‖² = 2 or 0, and returns the value.
double reflect(double* x, std::size_t n) {
  double scale = 0.0;
  for (std::size_t i = 1; i < n; ++i) scale = std::max(scale, std::abs(x[i]));
  const double first = x[0];
  if (scale == 0.0) {
    std::fill_n(x, n, 0.0);
    return first;
  }
  scale = std::max(scale, std::abs(first));
  for (std::size_t i = 0; i < n; ++i) x[i] /= scale;
  const double length = std::sqrt(dot(x, x, n)), value = x[0] > 0.0 ? -length : length;
  // ‖x − value e₁‖² = 2 length (length + |x₀|).
  const double unit = 1.0 / std::sqrt(length * (length + std::abs(x[0])));
  x[0] -= value;
  for (std::size_t i = 0; i < n; ++i) x[i] *= unit;
  return value * scale;
}

}  // namespace

std::vector<double> tridiagonal_eigenvalues(std::vector<double> d, std::vector<double> e) {
  const std::size_t n = d.size();
  if (e.size() + 1 != n) throw std::invalid_argument("tridiagonal_eigenvalues: beside has one element less");
  e.push_back(0.0);
  double size = 0.0;
  for (std::size_t i = 0; i < n; ++i) size = std::max(size, std::abs(d[i]) + std::abs(e[i]));
  const double nothing = 0.5 * std::numeric_limits<double>::epsilon() * size;
  for (std::size_t low = 0; low < n; ++low) {
    for (int sweep = 0;; ++sweep) {
      if (sweep == 60 || !std::isfinite(d[low] + e[low]))
        throw std::runtime_error("tridiagonal_eigenvalues: no convergence");
      std::size_t m = low;
      while (m + 1 < n && std::abs(e[m]) > nothing) ++m;
      if (m == low) break;
      // Wilkinson's shift.
      double g = (d[low + 1] - d[low]) / (2.0 * e[low]), r = std::hypot(g, 1.0);
      g = d[m] - d[low] + e[low] / (g + std::copysign(r, g));
      double s = 1.0, c = 1.0, p = 0.0;
      bool split = false;
      for (std::size_t i = m; i-- > low;) {
        const double f = s * e[i], b = c * e[i];
        e[i + 1] = r = std::hypot(f, g);
        if (r == 0.0) {
          d[i + 1] -= p;
          e[m] = 0.0;
          split = true;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2.0 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
      }
      if (split) continue;
      d[low] -= p;
      e[low] = g;
      e[m] = 0.0;
    }
  }
  std::sort(d.begin(), d.end());
  return d;
}

std::vector<double> symmetric_eigenvalues(std::vector<double> a, std::size_t n) {
  if (n == 0 || a.size() != n * n) throw std::invalid_argument("symmetric_eigenvalues: a square matrix");
  std::vector<double> diagonal(n), beside(n - 1), product(n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i + 1; j < n; ++j) a[i * n + j] = a[j * n + i];
  for (std::size_t k = 0; k + 1 < n; ++k) {
    const std::size_t left = n - k - 1;
    double* v = &a[k * n + k + 1];
    diagonal[k] = a[k * n + k];
    beside[k] = reflect(v, left);
    // A ← A − vwᵀ − wvᵀ with w = Av − ½(vᵀAv)v.
    for (std::size_t i = 0; i < left; ++i) product[i] = dot(&a[(k + 1 + i) * n + k + 1], v, left);
    const double half = 0.5 * dot(product.data(), v, left);
    for (std::size_t i = 0; i < left; ++i) product[i] -= half * v[i];
    for (std::size_t i = 0; i < left; ++i) {
      double* row = &a[(k + 1 + i) * n + k + 1];
      for (std::size_t j = 0; j < left; ++j) row[j] -= v[i] * product[j] + product[i] * v[j];
    }
  }
  diagonal[n - 1] = a[n * n - 1];
  return tridiagonal_eigenvalues(std::move(diagonal), std::move(beside));
}

std::vector<double> singular_values(std::vector<double> a, std::size_t n) {
  if (n == 0 || a.size() != n * n) throw std::invalid_argument("singular_values: a square matrix");
  // d₁, e₁, d₂, …: the bidiagonal matrix, which is what lies beside the diagonal of [0 Bᵀ; B 0] in the order of rows
  // 1, n + 1, 2, n + 2, …
  std::vector<double> beside, v(n), product(n);
  for (std::size_t k = 0; k < n; ++k) {
    const std::size_t below = n - k, right = n - k - 1;
    for (std::size_t i = 0; i < below; ++i) v[i] = a[(k + i) * n + k];
    beside.push_back(reflect(v.data(), below));
    if (right == 0) break;
    std::fill_n(product.begin(), right, 0.0);
    for (std::size_t i = 0; i < below; ++i) {
      const double* row = &a[(k + i) * n + k + 1];
      for (std::size_t j = 0; j < right; ++j) product[j] += v[i] * row[j];
    }
    for (std::size_t i = 0; i < below; ++i) {
      double* row = &a[(k + i) * n + k + 1];
      for (std::size_t j = 0; j < right; ++j) row[j] -= v[i] * product[j];
    }
    std::copy_n(&a[k * n + k + 1], right, v.begin());
    beside.push_back(reflect(v.data(), right));
    for (std::size_t i = 1; i < below; ++i) {
      double* row = &a[(k + i) * n + k + 1];
      const double along = dot(row, v.data(), right);
      for (std::size_t j = 0; j < right; ++j) row[j] -= along * v[j];
    }
  }
  const std::vector<double> pairs = tridiagonal_eigenvalues(std::vector<double>(2 * n, 0.0), std::move(beside));
  std::vector<double> out(pairs.end() - static_cast<std::ptrdiff_t>(n), pairs.end());
  for (double& s : out) s = std::max(s, 0.0);
  return out;
}

}  // namespace scalevec::theory
