#pragma once

#include <algorithm>
#include <limits>

#include "optim/core/random.hpp"
#include "optim/methods/matrix/method.hpp"

namespace scalevec::methods {

// PSGD with a Kronecker-factored preconditioner QₗᵀQₗ ⊗ QᵣᵀQᵣ, each Q upper triangular, fitted at some steps by the
// criterion E[hᵀPh + vᵀP⁻¹v] with random v. The form and the defaults are those of kron_torch; here v is a function of
// the step and the shape, and Qs are balanced at every hundredth fitting in place of one by chance. A tensor of more
// dimensions is a matrix of its first and the rest, one of less has a number an element, as has a side of one or longer
// than max_size_triangular. State of a float matrix [r, c]: 4rc + 4r² + 4c² bytes.
struct Kron {
  static constexpr const char* kName = "kron";
  static constexpr const char* kSource =
      "Li, arXiv 1512.04202 and 2402.11858, https://github.com/evanatyourservice/kron_torch";
  static constexpr MethodDefaults kDefaults{1e-3, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS((double, momentum, 0.9, kFraction, "decay of the mean of g; kron_torch's b1"),
                   (double, precond_lr, 0.1, kNonnegative, "step of a fitting; kron_torch"),
                   (double, precond_init_scale, 1.0, at_least(0), "scale of the first preconditioner; kron_torch"),
                   (std::int64_t, max_size_triangular, 8192, at_least(0),
                    "a longer side has a number an element; kron_torch"),
                   (double, min_prob, 0.03, from_to(0, 1), "least share of steps that fit; kron_torch"),
                   (double, prob_decay, 0.001, kNonnegative, "rate at which this share falls from 1; kron_torch"),
                   (std::int64_t, flat_start, 500, kNonnegative, "steps before it falls; kron_torch"),
                   (double, max_rms, 1.1, kNonnegative, "the update's RMS is cut to this; kron_torch"))

  static constexpr bool kAnyShape = true;
  static constexpr bool kFactorises = true;
  static constexpr bool kRowsStay = true;

  static std::vector<BufferSpec> state(const Values& o, c10::IntArrayRef sizes) {
    const auto [rows, cols] = sides(sizes);
    std::vector<BufferSpec> out{{"momentum_buffer", sizes.vec()}};
    if (sizes.size() >= 2) out.push_back({"q_left", factor_shape(o, sizes, rows)});
    out.push_back({sizes.size() >= 2 ? "q_right" : "q", factor_shape(o, sizes, cols)});
    out.push_back({"fittings", {2}});  // steps since the last one, and how many there were
    return out;
  }
  static kernels::MomentumPass::Constants<double> momentum(const Values& o, std::int64_t) {
    return {1.0 - o.momentum, 1.0};
  }
  static double flops(const Values&, double rows, double cols) {
    return 4.0 * (rows * rows * cols + rows * cols * cols);
  }

  static void form_update(const Values& o, MatrixJob& job) {
    const auto [rows, cols] = sides(job.param.sizes());
    Tensor g = job.update.view({rows, cols});
    const Tensor& counters = job.buffers.back();
    std::vector<Tensor> q(job.buffers.begin() + 1, job.buffers.end() - 1);
    if (job.step == 1)
      for (Tensor& factor : q) {
        const double scale = std::pow(o.precond_init_scale, 1.0 / static_cast<double>(q.size()));
        if (factor.dim() == 2)
          factor.diagonal().fill_(scale);
        else
          factor.fill_(scale);
      }
    const Tensor none;
    Tensor &left = q.front(), &right = q.back();
    const Tensor& used_left = q.size() == 2 ? left : none;
    kernels::for_row_strips(rows, [&](std::int64_t begin, std::int64_t count) {
      g.narrow(0, begin, count).div_(1.0 - std::pow(o.momentum, static_cast<double>(job.step)));
    });
    const double since = element(counters, 0) + 1.0;
    const double prob =
        std::clamp(std::exp(-o.prob_decay * static_cast<double>(job.step - 1 - o.flat_start)), o.min_prob, 1.0);
    const bool fits = prob > 0.0 && since >= 1.0 / prob;
    set_element(counters, 0, fits ? 0.0 : since);
    if (fits) {
      const double fittings = element(counters, 1) + 1.0;
      // Whole numbers up to 2²⁴ are exact in float; a count that has got there starts anew.
      set_element(counters, 1, fittings >= 100.0 ? 0.0 : fittings);
      if (fittings >= 100.0 && q.size() == 2) run_tasks(1, [&](std::int64_t) { balance(left, right); });
      fit(o, job.step, g, used_left, right);
    }
    Tensor out = times_transposed(right, times_left(used_left, g, false), false);  // Qₗ G Qᵣᵀ
    out = times_transposed(right, times_left(used_left, out, true), true);         // Qₗᵀ(…)Qᵣ
    const double rms = std::sqrt(kernels::squared_norm(out) / static_cast<double>(out.numel()));
    job.update = out.view(job.param.sizes());
    job.scale = job.options->lr() * std::min(1.0, o.max_rms / (rms + 1e-6));
  }

 private:
  using Tensor = torch::Tensor;

  // A vector is one row.
  static std::pair<std::int64_t, std::int64_t> sides(c10::IntArrayRef sizes) {
    const std::int64_t all = c10::multiply_integers(sizes);
    if (sizes.size() < 2 || sizes[0] == 0)
      return {sizes.size() < 2 ? 1 : 0, sizes.size() < 2 ? all : c10::multiply_integers(sizes.slice(1))};
    return {sizes[0], all / sizes[0]};
  }
  static std::vector<std::int64_t> factor_shape(const Values& o, c10::IntArrayRef sizes, std::int64_t side) {
    if (sizes.size() < 2 || side == 1 || side > o.max_size_triangular) return {side};
    return {side, side};
  }
  static double element(const Tensor& t, std::int64_t k) {
    return t.scalar_type() == torch::kFloat64 ? t.const_data_ptr<double>()[k]
                                              : static_cast<double>(t.const_data_ptr<float>()[k]);
  }
  static void set_element(const Tensor& t, std::int64_t k, double x) {
    if (t.scalar_type() == torch::kFloat64)
      t.data_ptr<double>()[k] = x;
    else
      t.data_ptr<float>()[k] = static_cast<float>(x);
  }

  // QX or QᵀX of a left factor (none: X), XQᵀ or XQ of a right one.
  static Tensor times_left(const Tensor& q, const Tensor& x, bool transposed) {
    if (!q.defined()) return x;
    Tensor out = at::empty_like(x);
    if (q.dim() == 2)
      kernels::product(out, transposed ? q.t() : q, x);
    else
      kernels::for_row_strips(x.size(0), [&](std::int64_t begin, std::int64_t rows) {
        out.narrow(0, begin, rows).copy_(x.narrow(0, begin, rows) * q.narrow(0, begin, rows).unsqueeze(1));
      });
    return out;
  }
  static Tensor times_transposed(const Tensor& q, const Tensor& x, bool plain) {
    Tensor out = at::empty_like(x);
    if (q.dim() == 2)
      kernels::product(out, x, plain ? q : q.t());
    else
      kernels::for_row_strips(x.size(0), [&](std::int64_t begin, std::int64_t rows) {
        out.narrow(0, begin, rows).copy_(x.narrow(0, begin, rows) * q);
      });
    return out;
  }

  static void balance(Tensor& left, Tensor& right) {
    const double l = left.abs().max().item<double>(), r = right.abs().max().item<double>();
    if (!(l > 0.0) || !(r > 0.0)) return;
    left.mul_(std::sqrt(r / l));
    right.mul_(std::sqrt(l / r));
  }

  // v as a function of step and shape.
  static Tensor noise(std::int64_t step, const Tensor& like) {
    Tensor v = at::empty_like(like);
    const std::int64_t cols = like.size(1);
    kernels::for_row_strips(like.size(0), [&](std::int64_t begin, std::int64_t rows) {
      for (std::int64_t i = begin * cols; i < (begin + rows) * cols; ++i)
        set_element(v, i,
                    random_normal(static_cast<std::uint64_t>(step), stream_of(kName), static_cast<std::uint64_t>(i)));
    });
    return v;
  }

  // One step of both factors down the criterion, from A = QₗGQᵣᵀ and B = Qₗ⁻ᵀVQᵣ⁻¹.
  static void fit(const Values& o, std::int64_t step, const Tensor& g, Tensor left, Tensor& right) {
    const Tensor a = times_transposed(right, times_left(left, g, false), false);
    Tensor b = noise(step, g);
    run_tasks(1, [&](std::int64_t) {
      if (left.defined())
        b = left.dim() == 2 ? at::linalg_solve_triangular(left.t(), b, /*upper=*/false) : b / left.unsqueeze(1);
      b = right.dim() == 2 ? at::linalg_solve_triangular(right, b, /*upper=*/true, /*left=*/false) : b / right;
      b = b.contiguous();
    });
    if (left.defined()) move_factor(o, left, a, b);
    move_factor(o, right, a.t(), b.t());
  }

  // Q ← Q − precond_lr·triu(AAᵀ − BBᵀ)Q/‖AAᵀ + BBᵀ‖, the norm estimated from below; of a diagonal Q its diagonal, and
  // the largest element.
  static void move_factor(const Values& o, Tensor& q, const Tensor& a, const Tensor& b) {
    constexpr double kTiny = 0x1p-126;
    if (q.dim() == 1) {
      run_tasks(1, [&](std::int64_t) {
        const Tensor of_a = (a * a).sum(1), of_b = (b * b).sum(1);
        const double norm = (of_a + of_b).max().item<double>() + kTiny;
        q.sub_((of_a - of_b).mul_(q).mul_(o.precond_lr / norm));
      });
      return;
    }
    Tensor of_a = at::empty_like(q), of_b = at::empty_like(q), moved = at::empty_like(q);
    kernels::symmetric_product(of_a, a);
    kernels::symmetric_product(of_b, b);
    run_tasks(1, [&](std::int64_t) {
      const double norm = norm_lower_bound(of_a + of_b) + kTiny;
      of_a.sub_(of_b).triu_().mul_(-o.precond_lr / norm);
    });
    kernels::product(moved, of_a, q, q, 1.0);
    q.copy_(moved);
  }

  // Of a symmetric matrix: ‖Ax‖/‖x‖ for x = A times A's longest column.
  static double norm_lower_bound(const Tensor& a) {
    const double most = a.abs().max().item<double>();
    if (!(most > 0.0)) return most;
    const Tensor scaled = a / most;
    const Tensor column = scaled.index_select(1, (scaled * scaled).sum(0).argmax().reshape({1}));
    const Tensor x = scaled.mm(column);
    const double norm = x.norm().item<double>();
    return norm > 0.0 ? most * scaled.mm(x / norm).norm().item<double>() : 0.0;
  }
};

}  // namespace scalevec::methods
