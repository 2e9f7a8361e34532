#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/reference_optimizers.hpp"

// Methods that look at a whole tensor, in plain double loops from their papers. They share no code with the library. A
// vector is a matrix of one row, a tensor of more dimensions one of its first and the rest.
namespace reference {

inline double mean_square(const Vector& v) {
  double sum = 0;
  for (const double e : v) sum += e * e / static_cast<double>(v.size());
  return sum;
}

// arXiv 1804.04235, algorithms 4 and 5, with the lr, the decay and the two constants of torch.optim.Adafactor.
struct Adafactor {
  double beta2_decay = -0.8, eps1 = 0, eps2 = 1e-3, d = 1.0;
  bool vector = false;
  int t = 0;
  Vector r, c, v;

  void step(Matrix& p, const Matrix& grad, const Decay& decay) {
    ++t;
    const double b = 1 - std::pow(t, beta2_decay);
    const double rho = std::min(decay.lr, 1 / std::sqrt(t)), alpha = std::max(eps2, std::sqrt(mean_square(p.x))) * rho;
    Matrix g = grad;
    for (std::size_t i = 0; i < g.x.size(); ++i) g.x[i] = decay.gradient(p.x[i], grad.x[i]);
    Matrix u = g;
    r.resize(p.rows, 0.0);
    c.resize(p.cols, 0.0);
    v.resize(p.x.size(), 0.0);
    Vector row(p.rows, 0.0), col(p.cols, 0.0);
    for (std::size_t i = 0; i < p.rows; ++i)
      for (std::size_t j = 0; j < p.cols; ++j) {
        row[i] += g(i, j) * g(i, j) / static_cast<double>(p.cols);
        col[j] += g(i, j) * g(i, j) / static_cast<double>(p.rows);
      }
    double mean = 0;
    for (std::size_t i = 0; i < p.rows; ++i) {
      r[i] = b * r[i] + (1 - b) * row[i];
      mean += r[i] / static_cast<double>(p.rows);
    }
    for (std::size_t j = 0; j < p.cols; ++j) c[j] = b * c[j] + (1 - b) * col[j];
    for (std::size_t i = 0; i < p.rows; ++i)
      for (std::size_t j = 0; j < p.cols; ++j) {
        double& own = v[i * p.cols + j];
        own = vector ? b * own + (1 - b) * g(i, j) * g(i, j) : r[i] * c[j] / std::max(mean, eps1);
        u(i, j) = g(i, j) / std::sqrt(std::max(own, eps1 * eps1));
      }
    const double clip = std::max(1.0, std::sqrt(mean_square(u.x)) / d);
    for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = decay.parameter(p.x[i]) - alpha / clip * u.x[i];
  }
};

// arXiv 2406.16793, algorithm 1; `blocks` are ranges of elements.
struct AdamMini {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  std::vector<std::pair<std::size_t, std::size_t>> blocks;
  int t = 0;
  Vector m, v;

  void step(Matrix& p, const Matrix& grad, const Decay& decay) {
    ++t;
    m.resize(p.x.size(), 0.0);
    v.resize(blocks.size(), 0.0);
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const auto [begin, end] = blocks[b];
      Vector g;
      for (std::size_t i = begin; i < end; ++i) g.push_back(decay.gradient(p.x[i], grad.x[i]));
      v[b] = beta2 * v[b] + (1 - beta2) * mean_square(g);
      for (std::size_t i = begin; i < end; ++i) {
        m[i] = beta1 * m[i] + (1 - beta1) * g[i - begin];
        const double below = std::sqrt(v[b] / (1 - std::pow(beta2, t))) + eps;
        p.x[i] = decay.parameter(p.x[i]) - (below > 0 ? decay.lr * m[i] / (1 - std::pow(beta1, t)) / below : 0.0);
      }
    }
  }
};

// arXiv 2502.07529, table 2, of the weight as [out, in]; "bias" is one RMS for all.
struct Scion {
  double momentum = 0.9, scale = 1.0, eps = 1e-8;
  std::string norm = "spectral";
  std::vector<Triple> steps;
  double norm_factor = 1.0;
  bool vector = false;
  Matrix m;

  void step(Matrix& p, const Matrix& grad, const Decay& decay) {
    if (m.x.empty()) m = Matrix(p.rows, p.cols);
    for (std::size_t i = 0; i < p.x.size(); ++i)
      m.x[i] = momentum * m.x[i] + (1 - momentum) * decay.gradient(p.x[i], grad.x[i]);
    const double rows = static_cast<double>(p.rows), cols = static_cast<double>(p.cols);
    Matrix u = m;
    if (norm == "spectral") {
      if (reference::norm(u.x) > 0) {
        // The factor of a matrix does not depend on its size.
        for (double& e : u.x) e /= reference::norm(m.x);
        u = mix(std::sqrt(rows / cols), newton_schulz(u, steps, norm_factor), 0.0, u);
      }
    } else if (norm == "sign") {
      for (double& e : u.x) e = sign(e) / (vector ? 1.0 : cols);
    } else {
      for (std::size_t i = 0; i < p.rows; ++i)
        for (std::size_t j = 0; j < p.cols; ++j) {
          double square = 0;
          if (norm == "col")
            for (std::size_t k = 0; k < p.rows; ++k) square += m(k, j) * m(k, j) / rows;
          else if (norm == "row")
            for (std::size_t k = 0; k < p.cols; ++k) square += m(i, k) * m(i, k) * cols;
          else
            square = mean_square(m.x);
          const double below = std::sqrt(square) + eps;
          u(i, j) = below > 0 ? m(i, j) / below : 0.0;
        }
    }
    for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = decay.parameter(p.x[i]) - decay.lr * scale * u.x[i];
  }
};

// Gram-Schmidt, twice, of columns of which some may depend on others: those become zero.
inline Matrix orthonormal_columns(Matrix a) {
  double longest = 0;
  for (std::size_t j = 0; j < a.cols; ++j) {
    double before = 0;
    for (std::size_t i = 0; i < a.rows; ++i) before += a(i, j) * a(i, j);
    longest = std::max(longest, std::sqrt(before));
    for (int pass = 0; pass < 2; ++pass)
      for (std::size_t k = 0; k < j; ++k) {
        double dot = 0;
        for (std::size_t i = 0; i < a.rows; ++i) dot += a(i, k) * a(i, j);
        for (std::size_t i = 0; i < a.rows; ++i) a(i, j) -= dot * a(i, k);
      }
    double length = 0;
    for (std::size_t i = 0; i < a.rows; ++i) length += a(i, j) * a(i, j);
    length = std::sqrt(length);
    for (std::size_t i = 0; i < a.rows; ++i) a(i, j) = length > 1e-11 * longest ? a(i, j) / length : 0.0;
  }
  return a;
}

// arXiv 2504.05295, algorithm 1. A column of R that is zero moves nothing and leaves its column of Q.
struct Dion {
  double mu = 0.95, eps = 1e-8;
  Matrix q, m;

  void step(Matrix& p, const Matrix& grad, const Decay& decay) {
    if (m.x.empty()) m = Matrix(p.rows, p.cols);
    Matrix b = m;
    for (std::size_t i = 0; i < p.x.size(); ++i) b.x[i] += decay.gradient(p.x[i], grad.x[i]);
    const Matrix left = orthonormal_columns(times(b, q));
    Matrix right = times(transposed(b), left);
    m = mix(1.0, b, mu - 1, times(left, transposed(right)));
    double longest = 0;
    Vector lengths(right.cols, 0.0);
    for (std::size_t j = 0; j < right.cols; ++j) {
      for (std::size_t i = 0; i < right.rows; ++i) lengths[j] += right(i, j) * right(i, j);
      lengths[j] = std::sqrt(lengths[j]);
      longest = std::max(longest, lengths[j]);
    }
    for (std::size_t j = 0; j < right.cols; ++j) {
      const bool gone = lengths[j] <= 1e-11 * longest;
      for (std::size_t i = 0; i < right.rows; ++i) {
        right(i, j) = gone ? 0.0 : right(i, j) / (lengths[j] + eps);
        if (!gone) q(i, j) = right(i, j);
      }
    }
    const Matrix u = times(left, transposed(right));
    const double factor = std::sqrt(static_cast<double>(p.rows) / static_cast<double>(p.cols));
    for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = decay.parameter(p.x[i]) - decay.lr * factor * u.x[i];
  }
};

// PSGD Kron as kron_torch has it (github.com/evanatyourservice/kron_torch), with the probes `noise(t, element)`. A
// diagonal factor is a diagonal matrix here. A vector has the right factor only.
struct Kron {
  double momentum = 0.9, precond_lr = 0.1, init_scale = 1.0, min_prob = 0.03, prob_decay = 0.001, max_rms = 1.1;
  double flat_start = 500;
  std::size_t max_size = 8192;
  bool vector = false;
  std::function<double(int, std::size_t)> noise;
  int t = 0, counter = 0, fittings = 0;
  Matrix m, left, right;

  void step(Matrix& p, const Matrix& grad, const Decay& decay) {
    ++t;
    if (m.x.empty()) {
      m = Matrix(p.rows, p.cols);
      left = identity(p.rows, vector ? 1.0 : std::sqrt(init_scale));
      right = identity(p.cols, vector ? init_scale : std::sqrt(init_scale));
    }
    Matrix g = m;
    for (std::size_t i = 0; i < p.x.size(); ++i) {
      m.x[i] = momentum * m.x[i] + (1 - momentum) * decay.gradient(p.x[i], grad.x[i]);
      g.x[i] = m.x[i] / (1 - std::pow(momentum, t));
    }
    double prob = std::exp(-prob_decay * (t - 1 - flat_start));
    prob = std::min(1.0, std::max(min_prob, prob));
    if (++counter >= 1 / prob) {
      counter = 0;
      if (++fittings % 100 == 0 && !vector) balance();
      fit(g);
    }
    Matrix u = times(times(left, g), transposed(right));
    u = times(times(transposed(left), u), right);
    const double cut = std::min(1.0, max_rms / (std::sqrt(mean_square(u.x)) + 1e-6));
    for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = decay.parameter(p.x[i]) - decay.lr * cut * u.x[i];
  }

 private:
  static Matrix identity(std::size_t n, double scale) {
    Matrix out(n, n);
    for (std::size_t i = 0; i < n; ++i) out(i, i) = scale;
    return out;
  }
  bool diagonal(std::size_t n) const { return vector || n == 1 || n > max_size; }

  void balance() {
    double l = 0, r = 0;
    for (const double e : left.x) l = std::max(l, std::abs(e));
    for (const double e : right.x) r = std::max(r, std::abs(e));
    const double mean = std::sqrt(l * r);
    for (double& e : left.x) e *= mean / l;
    for (double& e : right.x) e *= mean / r;
  }

  // The inverse of an upper triangular matrix.
  static Matrix inverse(const Matrix& a) {
    Matrix out(a.rows, a.rows);
    for (std::size_t j = 0; j < a.rows; ++j)
      for (std::size_t i = j + 1; i-- > 0;) {
        double sum = i == j ? 1.0 : 0.0;
        for (std::size_t k = i + 1; k <= j; ++k) sum -= a(i, k) * out(k, j);
        out(i, j) = sum / a(i, i);
      }
    return out;
  }

  void fit(const Matrix& g) {
    Matrix v = g;
    for (std::size_t i = 0; i < v.x.size(); ++i) v.x[i] = noise(t, i);
    const Matrix a = times(times(left, g), transposed(right));
    const Matrix b = times(times(transposed(inverse(left)), v), inverse(right));
    if (!vector) move(left, times(a, transposed(a)), times(b, transposed(b)));
    move(right, times(transposed(a), a), times(transposed(b), b));
  }

  void move(Matrix& q, const Matrix& first, const Matrix& second) const {
    const Matrix sum = mix(1.0, first, 1.0, second);
    Matrix change = mix(1.0, first, -1.0, second);
    double size = 0;
    if (diagonal(q.rows)) {
      for (std::size_t i = 0; i < q.rows; ++i) size = std::max(size, sum(i, i));
      for (std::size_t i = 0; i < q.rows; ++i)
        for (std::size_t j = 0; j < q.rows; ++j)
          if (i != j) change(i, j) = 0;
    } else {
      // ‖Ax‖/‖x‖ for x = A times A's longest column.
      std::size_t longest = 0;
      double most = -1;
      for (std::size_t j = 0; j < q.rows; ++j) {
        double square = 0;
        for (std::size_t i = 0; i < q.rows; ++i) square += sum(i, j) * sum(i, j);
        if (square > most) {
          most = square;
          longest = j;
        }
      }
      Matrix column(q.rows, 1);
      for (std::size_t i = 0; i < q.rows; ++i) column.x[i] = sum(i, longest);
      const Matrix x = times(sum, column), y = times(sum, x);
      size = norm(x.x) > 0 ? norm(y.x) / norm(x.x) : 0.0;
      for (std::size_t i = 0; i < q.rows; ++i)
        for (std::size_t j = 0; j < i; ++j) change(i, j) = 0;
    }
    q = mix(1.0, q, -precond_lr / (size + std::ldexp(1.0, -126)), times(change, q));
  }
};

}  // namespace reference
