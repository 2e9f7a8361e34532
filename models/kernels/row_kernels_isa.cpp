// Compiled once per instruction set with SCALEVEC_ISA_TABLE set. Everything but the table has internal linkage: code for
// a newer instruction set must not be picked by the linker for an older machine.
#include <cmath>
#include <cstdint>

#include "scalevec/models/kernels/exponential.hpp"
#include "scalevec/models/kernels/row_kernels.hpp"

#define SCALEVEC_JOIN_(a, b) a##b
#define SCALEVEC_JOIN(a, b) SCALEVEC_JOIN_(a, b)

namespace scalevec::kernels {
namespace {

template <class T>
inline __attribute__((always_inline)) T sigmoid(T x) { return T(1) / (T(1) + exponential(-x)); }

template <class T>
inline __attribute__((always_inline)) T inverse_rms(const T* __restrict__ x, T eps, std::int64_t d) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < d; ++j) sum += x[j] * x[j];
  return T(1) / std::sqrt(sum / static_cast<T>(d) + eps);
}

template <class T>
void norm(Rows<const T> x, const T* __restrict__ gamma, T eps, T* y, T* rstd, std::int64_t d, std::int64_t begin,
          std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ from = x[r];
    T* __restrict__ to = y + r * d;
    const T scale = rstd[r] = inverse_rms(from, eps, d);
    if (gamma) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = from[j] * scale * gamma[j];
    } else {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = from[j] * scale;
    }
  }
}

template <class T>
void norm_backward(Rows<const T> grad, Rows<const T> x, const T* __restrict__ gamma, const T* rstd, T* dx,
                   T* __restrict__ dgamma, std::int64_t d, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ g = grad[r];
    const T* __restrict__ from = x[r];
    T* __restrict__ to = dx + r * d;
    const T scale = rstd[r];
    T dot = 0;
#pragma omp simd reduction(+ : dot)
    for (std::int64_t j = 0; j < d; ++j) dot += g[j] * gamma[j] * from[j];
    const T along = dot * scale * scale * scale / static_cast<T>(d);
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) {
      to[j] = g[j] * gamma[j] * scale - from[j] * along;
      dgamma[j] += g[j] * from[j] * scale;
    }
  }
}

template <class T>
void unscaled_norm_backward(Rows<const T> grad, const T* y, const T* rstd, T* dx, std::int64_t d, std::int64_t begin,
                            std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ g = grad[r];
    const T* __restrict__ unit = y + r * d;
    T* __restrict__ to = dx + r * d;
    T dot = 0;
#pragma omp simd reduction(+ : dot)
    for (std::int64_t j = 0; j < d; ++j) dot += g[j] * unit[j];
    const T along = dot / static_cast<T>(d), scale = rstd[r];
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) to[j] = scale * (g[j] - unit[j] * along);
  }
}

template <class T>
void swiglu(Rows<const T> gate, Rows<const T> up, const T* __restrict__ gamma, T eps, T* y, T* rstd, std::int64_t d,
            std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ a = gate[r];
    const T* __restrict__ b = up[r];
    T* __restrict__ to = y + r * d;
    if (!rstd) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = a[j] * sigmoid(a[j]) * b[j];
      continue;
    }
    const T ra = rstd[2 * r] = inverse_rms(a, eps, d), rb = rstd[2 * r + 1] = inverse_rms(b, eps, d);
    if (gamma) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) {
        const T u = gamma[j] * a[j] * ra;
        to[j] = u * sigmoid(u) * b[j] * rb;
      }
    } else {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) {
        const T u = a[j] * ra;
        to[j] = u * sigmoid(u) * b[j] * rb;
      }
    }
  }
}

template <class T>
void swiglu_backward(Rows<const T> grad, Rows<const T> gate, Rows<const T> up, const T* __restrict__ gamma, const T* rstd,
                     T* dgate, T* dup, T* __restrict__ dgamma, std::int64_t d, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ g = grad[r];
    const T* __restrict__ a = gate[r];
    const T* __restrict__ b = up[r];
    T* __restrict__ da = dgate + r * d;
    T* __restrict__ db = dup + r * d;
    if (!rstd) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) {
        const T s = sigmoid(a[j]), silu = a[j] * s;
        db[j] = g[j] * silu;
        da[j] = g[j] * b[j] * (s + silu * (T(1) - s));
      }
      continue;
    }
    const T ra = rstd[2 * r], rb = rstd[2 * r + 1];
    T dot_a = 0, dot_b = 0;
    if (gamma) {
#pragma omp simd reduction(+ : dot_a, dot_b)
      for (std::int64_t j = 0; j < d; ++j) {
        const T unit = a[j] * ra, other = b[j] * rb, u = gamma[j] * unit;
        const T s = sigmoid(u), silu = u * s;
        const T du = g[j] * other * (s + silu * (T(1) - s));
        dgamma[j] += du * unit;
        da[j] = du * gamma[j];
        db[j] = g[j] * silu;
        dot_a += da[j] * unit;
        dot_b += db[j] * other;
      }
    } else {
#pragma omp simd reduction(+ : dot_a, dot_b)
      for (std::int64_t j = 0; j < d; ++j) {
        const T u = a[j] * ra, other = b[j] * rb;
        const T s = sigmoid(u), silu = u * s;
        da[j] = g[j] * other * (s + silu * (T(1) - s));
        db[j] = g[j] * silu;
        dot_a += da[j] * u;
        dot_b += db[j] * other;
      }
    }
    const T along_a = dot_a * ra / static_cast<T>(d), along_b = dot_b * rb / static_cast<T>(d);
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) {
      da[j] = ra * (da[j] - a[j] * along_a);
      db[j] = rb * (db[j] - b[j] * along_b);
    }
  }
}

template <class T>
void rotate(Rows<const T> x, const T* gamma, const T* cos, const T* sin, T sign, T* y, std::int64_t length,
            std::int64_t heads, std::int64_t d, std::int64_t begin, std::int64_t end) {
  const std::int64_t half = d / 2;
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ from = x[r];
    const std::int64_t position = (r / heads) % length;
    const T* __restrict__ c = cos + position * half;
    const T* __restrict__ s = sin + position * half;
    T* __restrict__ to = y + r * d;
    if (gamma) {
      const T* __restrict__ scale = gamma + (r % heads) * d;
#pragma omp simd
      for (std::int64_t i = 0; i < half; ++i) {
        const T a = from[i] * scale[i], b = from[i + half] * scale[i + half], t = sign * s[i];
        to[i] = a * c[i] - b * t;
        to[i + half] = b * c[i] + a * t;
      }
    } else {
#pragma omp simd
      for (std::int64_t i = 0; i < half; ++i) {
        const T a = from[i], b = from[i + half], t = sign * s[i];
        to[i] = a * c[i] - b * t;
        to[i + half] = b * c[i] + a * t;
      }
    }
  }
}

template <class T>
void rotate_backward(Rows<const T> grad, Rows<const T> x, const T* gamma, const T* cos, const T* sin, T* dx, T* dgamma,
                     std::int64_t length, std::int64_t heads, std::int64_t d, std::int64_t begin, std::int64_t end) {
  const std::int64_t half = d / 2;
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ g = grad[r];
    const T* __restrict__ from = x[r];
    const std::int64_t position = (r / heads) % length;
    const T* __restrict__ c = cos + position * half;
    const T* __restrict__ s = sin + position * half;
    const T* __restrict__ scale = gamma + (r % heads) * d;
    T* __restrict__ to = dx + r * d;
    T* __restrict__ sum = dgamma + (r % heads) * d;
#pragma omp simd
    for (std::int64_t i = 0; i < half; ++i) {
      const T a = g[i] * c[i] + g[i + half] * s[i], b = g[i + half] * c[i] - g[i] * s[i];
      to[i] = a * scale[i];
      to[i + half] = b * scale[i + half];
      sum[i] += a * from[i];
      sum[i + half] += b * from[i + half];
    }
  }
}

template <class T>
void scale_matrix(const T* w, const T* row, const T* __restrict__ column, T* out, std::int64_t d, std::int64_t begin,
                  std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    const T* __restrict__ from = w + i * d;
    T* __restrict__ to = out + i * d;
    const T scale = row ? row[i] : T(1);
    if (column) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = from[j] * scale * column[j];
    } else {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = from[j] * scale;
    }
  }
}

template <class T>
void scale_matrix_backward(T* g, const T* w, const T* row, const T* __restrict__ column, T* drow, T* __restrict__ dcolumn,
                           std::int64_t d, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    T* __restrict__ grad = g + i * d;
    const T* __restrict__ from = w + i * d;
    const T scale = row ? row[i] : T(1);
    T sum = 0;
    if (column && dcolumn) {
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = 0; j < d; ++j) {
        const T product = from[j] * grad[j];
        sum += product * column[j];
        dcolumn[j] += product * scale;
        grad[j] *= scale * column[j];
      }
    } else if (column) {
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = 0; j < d; ++j) {
        sum += from[j] * grad[j] * column[j];
        grad[j] *= scale * column[j];
      }
    } else {
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = 0; j < d; ++j) {
        sum += from[j] * grad[j];
        grad[j] *= scale;
      }
    }
    if (drow) drow[i] = sum;
  }
}

template <class T>
void cross_entropy(const T* logits, const std::int64_t* target, T* lse, T* loss, std::int64_t d, std::int64_t begin,
                   std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ x = logits + r * d;
    T top = x[0];
#pragma omp simd reduction(max : top)
    for (std::int64_t j = 0; j < d; ++j) top = top > x[j] ? top : x[j];
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t j = 0; j < d; ++j) sum += exponential(x[j] - top);
    lse[r] = top + std::log(sum);
    loss[r] = lse[r] - x[target[r]];
  }
}

template <class T>
void cross_entropy_backward(const T* logits, const std::int64_t* target, const T* lse, T scale, T* dlogits, std::int64_t d,
                            std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ x = logits + r * d;
    T* __restrict__ to = dlogits + r * d;
    const T shift = lse[r];
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) to[j] = scale * exponential(x[j] - shift);
    to[target[r]] -= scale;
  }
}

template <class T>
inline __attribute__((always_inline)) double square(T x) {
  return static_cast<double>(x) * static_cast<double>(x);
}

// Four rows at a time, so that the columns' sums are read and written a quarter as often.
template <class T>
void column_squares(const T* w, double* __restrict__ columns, std::int64_t d, std::int64_t begin, std::int64_t end) {
  std::int64_t i = begin;
  for (; i + 4 <= end; i += 4) {
    const T *a = w + i * d, *b = a + d, *c = b + d, *e = c + d;
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) columns[j] += (square(a[j]) + square(b[j])) + (square(c[j]) + square(e[j]));
  }
  for (; i < end; ++i) {
    const T* a = w + i * d;
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) columns[j] += square(a[j]);
  }
}

template <class T>
void row_squares(const T* w, double* rows, std::int64_t d, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    const T* __restrict__ from = w + i * d;
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t j = 0; j < d; ++j) sum += square(from[j]);
    rows[i - begin] = sum;
  }
}

template <class T>
constexpr RowKernels<T> kernels_of() {
  return {norm<T>,           norm_backward<T>,   unscaled_norm_backward<T>, swiglu<T>,
          swiglu_backward<T>, rotate<T>,          rotate_backward<T>,        scale_matrix<T>,
          scale_matrix_backward<T>, cross_entropy<T>, cross_entropy_backward<T>, column_squares<T>, row_squares<T>};
}

}  // namespace

extern const RowTable SCALEVEC_JOIN(row_, SCALEVEC_ISA_TABLE);
const RowTable SCALEVEC_JOIN(row_, SCALEVEC_ISA_TABLE){kernels_of<float>(), kernels_of<double>()};

}  // namespace scalevec::kernels
