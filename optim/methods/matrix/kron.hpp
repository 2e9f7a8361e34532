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

  using Tensor = torch::Tensor;

  static constexpr bool kAnyShape = true;
  static constexpr bool kFactorises = true;
  static constexpr bool kRowsStay = true;

  static std::vector<BufferSpec> state(const Values& o, c10::IntArrayRef sizes) {
    const auto [rows, cols] = sides(sizes);
    const double scale = sizes.size() >= 2 ? std::sqrt(o.precond_init_scale) : o.precond_init_scale;
    const auto factor = [&](const char* name, std::int64_t side) {
      return BufferSpec{name, factor_shape(o, sizes, side), true, BufferSpec::Kind::values,
                        [scale](Tensor& zeros) { (zeros.dim() == 2 ? zeros.diagonal() : zeros).fill_(scale); }};
    };
    std::vector<BufferSpec> out{{"momentum_buffer", sizes.vec()}};
    if (sizes.size() >= 2) out.push_back(factor("q_left", rows));
    out.push_back(factor(sizes.size() >= 2 ? "q_right" : "q", cols));
    return out;
  }
  static kernels::MomentumPass::Constants<double> momentum(const Values& o, std::int64_t) {
    return {1.0 - o.momentum, 1.0};
  }

  // Whether step t ≥ 1 fits, and how many steps up to it do. As in kron_torch, one does when 1/p(t) steps have passed
  // since the last: p(t) = exp(−prob_decay (t − 1 − flat_start)), from min_prob to 1.
  struct Fitting {
    bool now;
    std::int64_t count;
  };
  static Fitting fitting(const Values& o, std::int64_t t) {
    const double longest = o.min_prob > 0.0 ? 1.0 / o.min_prob : std::numeric_limits<double>::infinity();
    std::int64_t last = 0, count = 0;
    // 1/p grows with t: all fittings `interval` steps after the one before come before those with a longer interval.
    for (std::int64_t interval = 1; interval <= t; ++interval) {
      const std::int64_t until = last_with(o, interval, longest, t),
                         more = std::max<std::int64_t>(until - last, 0) / interval;
      last += more * interval;
      count += more;
      if (until == t) break;
      // From here on 1/p grows by more than 1 a step, up to the longest.
      if (static_cast<double>(interval) * o.prob_decay >= 1.0 && last + interval > until) {
        if (longest > static_cast<double>(t)) break;
        interval = std::max(interval, static_cast<std::int64_t>(std::ceil(longest)) - 1);
      }
    }
    return {last == t, count};
  }

  static double flops(const Values&, double rows, double cols) {
    return 4.0 * (rows * rows * cols + rows * cols * cols);
  }

  static void form_update(const Values& o, MatrixJob& job) {
    const auto [rows, cols] = sides(job.param.sizes());
    Tensor g = job.update.view({rows, cols});
    const Tensor none;
    Tensor left = job.buffers.size() == 3 ? job.buffers[1] : none, right = job.buffers.back();
    kernels::for_row_strips(rows, [&](std::int64_t begin, std::int64_t count) {
      g.narrow(0, begin, count).div_(1.0 - std::pow(o.momentum, static_cast<double>(job.step)));
    });
    if (const Fitting at = fitting(o, job.step); at.now) {
      if (at.count % kBalanced == 0 && left.defined()) run_tasks(1, [&](std::int64_t) { balance(left, right); });
      fit(o, job.step, g, left, right);
    }
    Tensor out = times_transposed(right, times_left(left, g, false), false);  // Qₗ G Qᵣᵀ
    out = times_transposed(right, times_left(left, out, true), true);         // Qₗᵀ(…)Qᵣ
    const double rms = std::sqrt(kernels::squared_norm(out) / static_cast<double>(out.numel()));
    job.update = out.view(job.param.sizes());
    job.scale = job.options->lr() * std::min(1.0, o.max_rms / (rms + 1e-6));
  }

  static double lr_scale(const Values&, c10::IntArrayRef, std::int64_t, const ParamRole&) { return 1.0; }
  // Other steps than these fit.
  static bool ordinary(const Values& o, std::int64_t step) { return !fitting(o, step).now; }

  // The steps that fit are those of the host's count, which a refused step is in too.
  static void form_on_device(const Values& o, DeviceMatrices& matrices) {
    if (matrices.update.numel() == 0) return;
    const c10::IntArrayRef sizes = matrices.params.front().sizes();
    const auto [rows, cols] = sides(sizes);
    Tensor u = matrices.update.view({-1, rows, cols});
    const Tensor t = matrices.step().clamp_min_(1).view({-1, 1, 1});
    const Tensor g = u / (1 - at::pow(o.momentum, t)).to(u.scalar_type());
    const bool vector = sizes.size() < 2;
    Tensor left = vector ? Tensor() : matrices.stacked(1), right = matrices.stacked(vector ? 1 : 2);
    if (const Fitting at = fitting(o, matrices.number); at.now) {
      if (at.count % kBalanced == 0 && !vector) balance_batch(left, right);
      fit_batch(o, matrices.normals({rows, cols}, stream_of(kName)), g, left, right);
      if (!vector) matrices.keep(1, left);
      matrices.keep(vector ? 1 : 2, right);
    }
    Tensor out = batch_left(left, batch_right(right, g, true), false);
    out = batch_left(left, batch_right(right, out, false), true);
    const Tensor norm = at::linalg_vector_norm(out, 2, c10::IntArrayRef({1, 2}), /*keepdim=*/true, torch::kFloat64);
    const Tensor cut = (o.max_rms / (norm / std::sqrt(static_cast<double>(rows * cols)) + 1e-6)).clamp_max_(1.0);
    u.copy_(out * cut.to(out.scalar_type()));
  }

 private:
  static constexpr std::int64_t kBalanced = 100;  // every so many fittings
  static constexpr double kTiny = 0x1p-126;

  // The last step up to t, from 0 on, at which an interval of so many steps is long enough. `longest`: of 1/p.
  static std::int64_t last_with(const Values& o, std::int64_t interval, double longest, std::int64_t t) {
    const double steps = static_cast<double>(interval);
    const double near = 1.0 + static_cast<double>(o.flat_start) + std::log(steps) / o.prob_decay;
    if (steps >= longest || !(near < static_cast<double>(t) + 2.0)) return t;
    const auto enough = [&](std::int64_t at) {
      return steps * std::min(1.0, std::exp(-o.prob_decay * static_cast<double>(at - 1 - o.flat_start))) >= 1.0;
    };
    // What rounding may have moved it by.
    auto at = static_cast<std::int64_t>(near);
    while (at > 0 && !enough(at)) --at;
    while (at < t && enough(at + 1)) ++at;
    return std::min(at, t);
  }

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
      for (std::int64_t i = begin * cols; i < (begin + rows) * cols; ++i) {
        const double x =
            random_normal(static_cast<std::uint64_t>(step), stream_of(kName), static_cast<std::uint64_t>(i));
        if (v.scalar_type() == torch::kFloat64)
          v.data_ptr<double>()[i] = x;
        else
          v.data_ptr<float>()[i] = static_cast<float>(x);
      }
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

  // The same of matrices behind each other on a device: X [n, rows, cols], factors [n, side, side] or [n, side].
  static Tensor batch_left(const Tensor& q, const Tensor& x, bool transposed) {
    if (!q.defined()) return x;
    return q.dim() == 3 ? at::bmm(transposed ? q.transpose(1, 2) : q, x) : x * q.unsqueeze(2);
  }
  static Tensor batch_right(const Tensor& q, const Tensor& x, bool transposed) {
    return q.dim() == 3 ? at::bmm(x, transposed ? q.transpose(1, 2) : q) : x * q.unsqueeze(1);
  }

  static void balance_batch(Tensor& left, Tensor& right) {
    const auto largest = [](const Tensor& q) { return q.abs().flatten(1).amax({1}, /*keepdim=*/true); };
    const Tensor l = largest(left), r = largest(right);
    const Tensor by = at::where((l > 0).logical_and(r > 0), (r / l).sqrt(), at::ones_like(l));
    const auto times = [](const Tensor& q, const Tensor& x) { return q * (q.dim() == 3 ? x.unsqueeze(2) : x); };
    left = times(left, by);
    right = times(right, by.reciprocal());
  }

  static void fit_batch(const Values& o, const Tensor& noise, const Tensor& g, Tensor& left, Tensor& right) {
    const Tensor a = batch_left(left, batch_right(right, g, true), false);
    Tensor b = noise.expand_as(g);
    if (left.defined())
      b = left.dim() == 3 ? at::linalg_solve_triangular(left.transpose(1, 2), b, /*upper=*/false)
                          : b / left.unsqueeze(2);
    b = right.dim() == 3 ? at::linalg_solve_triangular(right, b, /*upper=*/true, /*left=*/false)
                         : b / right.unsqueeze(1);
    if (left.defined()) left = moved_batch(o, left, a, b);
    right = moved_batch(o, right, a.transpose(1, 2), b.transpose(1, 2));
  }

  static Tensor moved_batch(const Values& o, const Tensor& q, const Tensor& a, const Tensor& b) {
    if (q.dim() == 2) {
      const Tensor of_a = (a * a).sum(2), of_b = (b * b).sum(2);
      return q - (of_a - of_b) * q * (o.precond_lr / ((of_a + of_b).amax({1}, /*keepdim=*/true) + kTiny));
    }
    const Tensor of_a = at::bmm(a, a.transpose(1, 2)), of_b = at::bmm(b, b.transpose(1, 2));
    const Tensor norm = norm_lower_bounds(of_a + of_b) + kTiny;
    return at::baddbmm(q, (of_a - of_b).triu() * (-o.precond_lr / norm), q);
  }

  // [n, 1, 1] of [n, side, side].
  static Tensor norm_lower_bounds(const Tensor& a) {
    const Tensor most = a.abs().amax({1, 2}, /*keepdim=*/true);
    const Tensor scaled = a / most.clamp_min(kTiny);
    const Tensor longest = (scaled * scaled).sum({1}, /*keepdim=*/true).argmax(2, /*keepdim=*/true);
    const Tensor x = at::bmm(scaled, scaled.gather(2, longest.expand({-1, a.size(1), 1})));
    const Tensor norm = x.norm(2, {1}, /*keepdim=*/true).clamp_min_(kTiny);
    return most * at::bmm(scaled, x / norm).norm(2, {1}, /*keepdim=*/true);
  }
};

}  // namespace scalevec::methods
