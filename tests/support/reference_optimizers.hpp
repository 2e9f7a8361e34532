#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

// Optimizers in plain double loops, written from the papers' formulas. They share no code with the library.
namespace reference {

using Vector = std::vector<double>;

struct Matrix {
  std::size_t rows = 0, cols = 0;
  Vector x;  // row-major

  Matrix() = default;
  Matrix(std::size_t r, std::size_t c) : rows(r), cols(c), x(r * c, 0.0) {}
  double& operator()(std::size_t i, std::size_t j) { return x[i * cols + j]; }
  double operator()(std::size_t i, std::size_t j) const { return x[i * cols + j]; }
};

inline Matrix transposed(const Matrix& a) {
  Matrix out(a.cols, a.rows);
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t j = 0; j < a.cols; ++j) out(j, i) = a(i, j);
  return out;
}

inline Matrix times(const Matrix& a, const Matrix& b) {
  Matrix out(a.rows, b.cols);
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t k = 0; k < a.cols; ++k)
      for (std::size_t j = 0; j < b.cols; ++j) out(i, j) += a(i, k) * b(k, j);
  return out;
}

// a·A + b·B
inline Matrix mix(double a, const Matrix& first, double b, const Matrix& second) {
  Matrix out = first;
  for (std::size_t i = 0; i < out.x.size(); ++i) out.x[i] = a * first.x[i] + b * second.x[i];
  return out;
}

inline double norm(const Vector& v) {
  double sum = 0;
  for (const double e : v) sum += e * e;
  return std::sqrt(sum);
}

// A step's decay: coupling "l2", "lr", "independent" or "lr2" toward `target`.
struct Decay {
  std::string coupling = "lr";
  double weight_decay = 0.0, target = 0.0, lr = 0.0, initial_lr = 0.0;

  double gradient(double p, double g) const { return coupling == "l2" ? g + weight_decay * (p - target) : g; }
  double parameter(double p) const {
    double rate = 0.0;
    if (coupling == "lr") rate = lr * weight_decay;
    if (coupling == "independent") rate = weight_decay * lr / initial_lr;
    if (coupling == "lr2") rate = weight_decay * lr * lr / initial_lr;
    return p - rate * (p - target);
  }
};

inline double sign(double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; }

struct Lion {
  double beta1 = 0.9, beta2 = 0.99;
  Vector m;
  void step(Vector& p, const Vector& grad, const Decay& d) {
    m.resize(p.size(), 0.0);
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = d.gradient(p[i], grad[i]);
      const double c = beta1 * m[i] + (1 - beta1) * g;
      m[i] = beta2 * m[i] + (1 - beta2) * g;
      p[i] = d.parameter(p[i]) - d.lr * sign(c);
    }
  }
};

struct Signum {
  double momentum = 0.9;
  Vector b;
  void step(Vector& p, const Vector& grad, const Decay& d) {
    b.resize(p.size(), 0.0);
    for (std::size_t i = 0; i < p.size(); ++i) {
      b[i] = momentum * b[i] + (1 - momentum) * d.gradient(p[i], grad[i]);
      p[i] = d.parameter(p[i]) - d.lr * sign(b[i]);
    }
  }
};

// arXiv 2409.03137, Algorithm 1 with the schedulers of its equations for α and β₃.
struct AdEMAMix {
  double beta1 = 0.9, beta2 = 0.999, beta3 = 0.9999, alpha = 2.0, eps = 1e-8, warmup = 0;
  int t = 0;
  Vector m1, m2, v;
  void step(Vector& p, const Vector& grad, const Decay& d) {
    ++t;
    m1.resize(p.size(), 0.0);
    m2.resize(p.size(), 0.0);
    v.resize(p.size(), 0.0);
    double a = alpha, b3 = beta3;
    if (warmup > 0) {
      const double x = t / warmup;
      a = std::min(x * alpha, alpha);
      const double s = std::log(beta1), e = std::log(beta3);
      if (x < 1) b3 = std::min(std::exp(s * e / ((1 - x) * e + x * s)), beta3);
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = d.gradient(p[i], grad[i]);
      m1[i] = beta1 * m1[i] + (1 - beta1) * g;
      m2[i] = b3 * m2[i] + (1 - b3) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      const double m_hat = m1[i] / (1 - std::pow(beta1, t)), v_hat = v[i] / (1 - std::pow(beta2, t));
      p[i] = d.parameter(p[i]) - d.lr * (m_hat + a * m2[i]) / (std::sqrt(v_hat) + eps);
    }
  }
};

struct Triple {
  double a, b, c;
};

// X/‖X‖, then X ← aX + b(XXᵀ)X + c(XXᵀ)²X for each triple.
inline Matrix newton_schulz(Matrix x, const std::vector<Triple>& steps, double norm_factor) {
  const double scale = std::max(norm(x.x) * norm_factor, 1e-7);
  for (double& e : x.x) e /= scale;
  for (const Triple& s : steps) {
    const Matrix first = times(times(x, transposed(x)), x);
    const Matrix second = times(times(x, transposed(x)), first);
    x = mix(1.0, mix(s.a, x, s.b, first), s.c, second);
  }
  return x;
}

// Muon, and NorMuon where `rows` says so ("norm": the norm stays, "rms": it becomes 0.2·√(rows·cols)).
struct Muon {
  std::vector<Triple> steps;
  double norm_factor = 1.0, momentum = 0.95;
  bool nesterov = true;
  double lr_factor = 1.0;
  std::string rows;
  double beta2 = 0.95;
  Matrix m;
  Vector v;

  void step(Matrix& p, const Matrix& grad, const Decay& d) {
    if (m.x.empty()) m = Matrix(p.rows, p.cols);
    Matrix u = p;
    for (std::size_t i = 0; i < p.x.size(); ++i) {
      const double g = d.gradient(p.x[i], grad.x[i]);
      m.x[i] = momentum * m.x[i] + (1 - momentum) * g;
      u.x[i] = nesterov ? (1 - momentum) * g + momentum * m.x[i] : m.x[i];
    }
    u = newton_schulz(u, steps, norm_factor);
    if (!rows.empty()) normalise_rows(u);
    for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = d.parameter(p.x[i]) - d.lr * lr_factor * u.x[i];
  }

 private:
  void normalise_rows(Matrix& u) {
    v.resize(u.rows, 0.0);
    const double before = norm(u.x);
    for (std::size_t i = 0; i < u.rows; ++i) {
      double mean = 0;
      for (std::size_t j = 0; j < u.cols; ++j) mean += u(i, j) * u(i, j) / static_cast<double>(u.cols);
      v[i] = beta2 * v[i] + (1 - beta2) * mean;
      for (std::size_t j = 0; j < u.cols; ++j) u(i, j) /= std::sqrt(v[i]) + 1e-10;
    }
    const double wanted = rows == "rms" ? 0.2 * std::sqrt(static_cast<double>(u.x.size())) : before;
    const double after = norm(u.x);
    for (double& e : u.x) e *= wanted / (after + 1e-10);
  }
};

// Eigenvectors of a symmetric matrix by cyclic Jacobi rotations, as columns by descending eigenvalue.
inline Matrix eigenvectors(Matrix a) {
  const std::size_t n = a.rows;
  Matrix q(n, n);
  for (std::size_t i = 0; i < n; ++i) q(i, i) = 1;
  for (int sweep = 0; sweep < 60; ++sweep)
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = i + 1; j < n; ++j) {
        if (a(i, j) == 0) continue;
        const double angle = 0.5 * std::atan2(2 * a(i, j), a(i, i) - a(j, j));
        const double c = std::cos(angle), s = std::sin(angle);
        for (std::size_t k = 0; k < n; ++k) {
          const double x = a(k, i), y = a(k, j);
          a(k, i) = c * x + s * y;
          a(k, j) = c * y - s * x;
        }
        for (std::size_t k = 0; k < n; ++k) {
          const double x = a(i, k), y = a(j, k);
          a(i, k) = c * x + s * y;
          a(j, k) = c * y - s * x;
        }
        for (std::size_t k = 0; k < n; ++k) {
          const double x = q(k, i), y = q(k, j);
          q(k, i) = c * x + s * y;
          q(k, j) = c * y - s * x;
        }
      }
  std::vector<std::size_t> order(n);
  for (std::size_t i = 0; i < n; ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return a(i, i) > a(j, j); });
  Matrix out(n, n);
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) out(i, j) = q(i, order[j]);
  return out;
}

// The orthogonal factor of a full-rank square matrix by twice-repeated Gram-Schmidt.
inline Matrix orthogonal_factor(Matrix a) {
  for (std::size_t j = 0; j < a.cols; ++j) {
    for (int pass = 0; pass < 2; ++pass)
      for (std::size_t k = 0; k < j; ++k) {
        double dot = 0;
        for (std::size_t i = 0; i < a.rows; ++i) dot += a(i, k) * a(i, j);
        for (std::size_t i = 0; i < a.rows; ++i) a(i, j) -= dot * a(i, k);
      }
    double length = 0;
    for (std::size_t i = 0; i < a.rows; ++i) length += a(i, j) * a(i, j);
    for (std::size_t i = 0; i < a.rows; ++i) a(i, j) /= std::sqrt(length);
  }
  return a;
}

// SOAP, arXiv 2409.11321, Algorithms 3 and 4, with the authors' first step that only sets the bases.
struct Soap {
  double beta1 = 0.95, beta2 = 0.95, shampoo_beta = 0.95, eps = 1e-8;
  int frequency = 10;
  int t = -1;
  Matrix m, v, left, right, ql, qr;

  void step(Matrix& p, const Matrix& grad, const Decay& d) {
    Matrix g = grad;
    for (std::size_t i = 0; i < g.x.size(); ++i) g.x[i] = d.gradient(p.x[i], grad.x[i]);
    ++t;
    if (t == 0) {
      m = v = Matrix(p.rows, p.cols);
      left = Matrix(p.rows, p.rows);
      right = Matrix(p.cols, p.cols);
    } else {
      m = mix(beta1, m, 1 - beta1, g);
      const Matrix gr = times(times(transposed(ql), g), qr), mr = times(times(transposed(ql), m), qr);
      Matrix n = mr;
      for (std::size_t i = 0; i < n.x.size(); ++i) {
        v.x[i] = beta2 * v.x[i] + (1 - beta2) * gr.x[i] * gr.x[i];
        n.x[i] = mr.x[i] / (1 - std::pow(beta1, t)) / (std::sqrt(v.x[i] / (1 - std::pow(beta2, t))) + eps);
      }
      const Matrix update = times(times(ql, n), transposed(qr));
      for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = d.parameter(p.x[i]) - d.lr * update.x[i];
    }
    left = mix(shampoo_beta, left, 1 - shampoo_beta, times(g, transposed(g)));
    right = mix(shampoo_beta, right, 1 - shampoo_beta, times(transposed(g), g));
    if (t == 0) {
      ql = eigenvectors(left);
      qr = eigenvectors(right);
    } else if (t % frequency == 0) {
      v = permuted_rows(v, turn(left, ql));
      v = transposed(permuted_rows(transposed(v), turn(right, qr)));
    }
  }

 private:
  static Matrix permuted_rows(const Matrix& a, const std::vector<std::size_t>& order) {
    Matrix out = a;
    for (std::size_t i = 0; i < a.rows; ++i)
      for (std::size_t j = 0; j < a.cols; ++j) out(i, j) = a(order[i], j);
    return out;
  }

  static std::vector<std::size_t> turn(const Matrix& covariance, Matrix& basis) {
    const Matrix power = times(covariance, basis);
    const Matrix estimate = times(transposed(basis), power);
    std::vector<std::size_t> order(basis.cols);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t i, std::size_t j) { return estimate(i, i) > estimate(j, j); });
    basis = orthogonal_factor(transposed(permuted_rows(transposed(power), order)));
    return order;
  }
};

}  // namespace reference
