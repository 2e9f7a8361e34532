#pragma once

#include <limits>
#include <stdexcept>
#include <string_view>

#include "optim/methods/matrix/method.hpp"

namespace scalevec::methods {

// AdamW in the eigenbasis of Shampoo's two preconditioners. Defaults are those of the authors' code. As there, a
// parameter's first step sets the bases from its gradient and leaves it as it is. State of a float matrix [r, c]:
// 8rc + 8r² + 8c² bytes, without the square of a side longer than max_precond_dim.
struct SOAP {
  static constexpr const char* kName = "soap";
  static constexpr const char* kSource = "Vyas et al., arXiv 2409.11321";
  static constexpr MethodDefaults kDefaults{3e-3, 0.01, DecayCoupling::lr};

  SCALEVEC_OPTIONS((double, beta1, 0.95, kFraction, "decay of the mean of g; authors' code"),
                   (double, beta2, 0.95, kFraction, "decay of the mean of the rotated g²; authors' code"),
                   (double, shampoo_beta, 0.95, kFraction, "decay of ggᵀ and gᵀg; authors' code"),
                   (double, eps, 1e-8, kNonnegative, "added to √v̂, 0/0 is no update; authors' code"),
                   (std::int64_t, precondition_frequency, 10, at_least(1),
                    "steps between updates of the bases; authors' code"),
                   (std::int64_t, max_precond_dim, 10000, at_least(0), "a longer side is not rotated; authors' code"))

  static constexpr bool kFactorises = true;
  static constexpr bool kRowsStay = true;  // the second moment is in the basis of the rows
  static constexpr bool kFirstStepStays = true;

  static std::vector<BufferSpec> state(const Values& o, std::int64_t rows, std::int64_t cols) {
    std::vector<BufferSpec> out{{"exp_avg", {rows, cols}}, {"exp_avg_sq", {rows, cols}}};
    const std::int64_t sizes[2] = {rows, cols};
    const char* names[2][2] = {{"left", "left_basis"}, {"right", "right_basis"}};
    for (size_t side = 0; side < 2; ++side)
      for (const char* name : names[side])
        out.push_back({name,
                       {sizes[side], sizes[side]},
                       sizes[side] <= o.max_precond_dim,
                       BufferSpec::Kind::values,
                       name == names[side][1] ? &fill_identity : nullptr});
    return out;
  }

  // The running mean of the gradient, left alone by the first step, and the gradient with clip factor and l2 decay.
  static kernels::MomentumPass::Constants<double> momentum(const Values& o, std::int64_t step) {
    return {step == 1 ? 0.0 : 1.0 - o.beta1, 0.0};
  }

  // Two preconditioners, and the rotations of gradient, momentum and update on both sides.
  static double flops(const Values&, double rows, double cols) {
    return 2.0 * (rows * rows * cols + rows * cols * cols) * 4.0;
  }

  static void form_update(const Values& o, MatrixJob& job) {
    Side left{job.buffer("left"), job.buffer("left_basis")}, right{job.buffer("right"), job.buffer("right_basis")};
    const bool first = job.step == 1;
    const torch::Tensor grad = job.update;
    if (first) {
      job.update = at::zeros_like(grad);
      job.decay.shrink = 0.0;
    } else {
      job.update = adam_in_basis(o, job, grad, left, right);
      job.scale = job.options->lr();
    }
    if (left.basis.defined())
      kernels::symmetric_product(left.covariance, grad, 1.0 - o.shampoo_beta, left.covariance, o.shampoo_beta);
    if (right.basis.defined())
      kernels::symmetric_product(right.covariance, grad.t(), 1.0 - o.shampoo_beta, right.covariance, o.shampoo_beta);
    for (const Side* s : {&left, &right})
      if (s->basis.defined()) check_finite(*s);
    if (!left.basis.defined() && !right.basis.defined()) check_finite(job.buffers[1]);
    if (first)
      run_tasks(1, [&](std::int64_t) {
        for (Side* s : {&left, &right})
          if (s->basis.defined()) eigenbasis(*s);
      });
    else if ((job.step - 1) % o.precondition_frequency == 0)
      turn_bases(job.buffers[1], left, right);
  }

  // At other steps than these, the bases are set or turned.
  static bool ordinary(const Values& o, std::int64_t step) {
    return step != 1 && (step - 1) % o.precondition_frequency != 0;
  }
  static double lr_scale(const Values&, c10::IntArrayRef, std::int64_t, const ParamRole&) { return 1.0; }

  // Should the device refuse the step that the host counts as the first, the bases begin as the identity. The square of
  // a gradient that the type cannot hold changes nothing but the momentum.
  static void form_on_device(const Values& o, DeviceMatrices& matrices) {
    const bool first = matrices.number == 1;
    const Tensor grad = matrices.update.clone();
    std::size_t next = 2;
    struct {
      std::size_t at = 0;  // of the covariance among the buffers; the basis is behind it
      Tensor covariance, basis;
    } sides[2];
    const auto is_finite = [](const Tensor& x) { return (x - x) == 0; };
    Tensor holds = is_finite(grad.square().sum({1, 2}, /*keepdim=*/true));
    for (int k = 0; k < 2; ++k) {
      if (grad.size(k + 1) > o.max_precond_dim) continue;
      const Tensor g = k == 0 ? grad : grad.transpose(1, 2), before = matrices.stacked(next);
      sides[k] = {next, at::baddbmm(before, g, g.transpose(1, 2), o.shampoo_beta, 1.0 - o.shampoo_beta),
                  matrices.stacked(next + 1)};
      holds = holds & is_finite(sides[k].covariance.diagonal(0, 1, 2).sum({1}).view({-1, 1, 1}));
      next += 2;
    }
    const auto rotated = [&](Tensor x, bool back) {
      if (const Tensor& q = sides[0].basis; q.defined()) x = at::bmm(back ? q : q.transpose(1, 2), x);
      if (const Tensor& q = sides[1].basis; q.defined()) x = at::bmm(x, back ? q.transpose(1, 2) : q);
      return x;
    };
    Tensor v = matrices.stacked(1);
    if (first) {
      for (const Tensor& momentum : matrices.buffer(0)) momentum.zero_();
      matrices.update.zero_();
    } else {
      const Tensor g = rotated(grad, false), t = (matrices.step() - 1).clamp_min_(1).view({-1, 1, 1});
      const auto over_bias = [&](const Tensor& x, double beta) {
        return x / (1 - at::pow(beta, t)).to(x.scalar_type());
      };
      v = v * o.beta2 + g * g * (1.0 - o.beta2);
      // 0/0 is no update.
      Tensor denominator = over_bias(v, o.beta2).sqrt_().add_(o.eps);
      if (o.eps == 0.0) denominator.masked_fill_(denominator == 0, std::numeric_limits<double>::infinity());
      const Tensor m = over_bias(rotated(matrices.stacked(0), false) / denominator, o.beta1);
      matrices.update.copy_(rotated(m, true).masked_fill_(~holds, 0));
    }
    const bool turns = !first && !ordinary(o, matrices.number);
    matrices.refused = matrices.refused | ~holds;
    for (int k = 0; k < 2; ++k) {
      auto& side = sides[k];
      if (!side.basis.defined()) continue;
      matrices.keep(side.at, side.covariance);
      // What is not kept needs no decomposition, and one of it would throw.
      const Tensor safe = at::where(matrices.refused, at::zeros_like(side.covariance), side.covariance);
      if (first) matrices.keep(side.at + 1, std::get<1>(at::linalg_eigh(safe)).flip({2}));
      if (!turns) continue;
      const Tensor power = at::bmm(safe, side.basis);
      const Tensor order =
          std::get<1>(at::sort((side.basis * power).sum({1}), /*stable=*/true, /*dim=*/1, /*descending=*/true));
      const Tensor by_column = order.unsqueeze(1);
      matrices.keep(side.at + 1, std::get<0>(at::linalg_qr(power.gather(2, by_column.expand_as(power)))));
      v = v.gather(k + 1, (k == 0 ? order.unsqueeze(2) : by_column).expand_as(v));
    }
    matrices.keep(1, v);
  }

 private:
  using Tensor = torch::Tensor;

  static void fill_identity(Tensor& zeros) { zeros.diagonal().fill_(1); }

  // One side's preconditioner, the running mean of ggᵀ or gᵀg, and its approximate eigenbasis by descending eigenvalue.
  struct Side {
    Tensor covariance, basis;  // undefined for a side that is not rotated
  };

  // A gradient whose square float cannot hold would leave a basis of NaNs, or an infinite mean, for later steps.
  static void check_finite(const Tensor& squares) {
    if (!std::isfinite(squares.sum().item<double>()))
      throw std::runtime_error("the square of its gradient is not finite; nothing has changed");
  }
  static void check_finite(const Side& side) { check_finite(side.covariance.diagonal()); }

  // X rotated into the bases, Qₗᵀ·X·Qᵣ, or back.
  static Tensor rotated(const Tensor& x, const Side& left, const Side& right, bool back) {
    Tensor out = x;
    if (left.basis.defined()) {
      Tensor next = at::empty_like(x);
      kernels::product(next, back ? left.basis : left.basis.t(), out);
      out = next;
    }
    if (right.basis.defined()) {
      Tensor next = at::empty_like(x);
      kernels::product(next, out, back ? right.basis.t() : right.basis);
      out = next;
    }
    return out;
  }

  static void eigenbasis(Side& side) { side.basis.copy_(std::get<1>(at::linalg_eigh(side.covariance)).flip({1})); }

  // One power iteration and a QR decomposition, the columns sorted by their estimated eigenvalue; gives the order.
  static Tensor turned_basis(Side& side, const Tensor& power) {
    const Tensor estimate = (side.basis * power).sum(0);
    const Tensor order = std::get<1>(at::sort(estimate, /*stable=*/true, /*dim=*/0, /*descending=*/true));
    side.basis.copy_(std::get<0>(at::linalg_qr(power.index_select(1, order))));
    return order;
  }

  static Tensor adam_in_basis(const Values& o, const MatrixJob& job, const Tensor& grad, const Side& left,
                              const Side& right) {
    const Tensor g = rotated(grad, left, right, false);
    Tensor m = rotated(job.buffers[0], left, right, false);
    if (m.is_same(job.buffers[0])) m = m.clone();
    const double t = static_cast<double>(job.step - 1);
    const double bias1 = 1.0 - std::pow(o.beta1, t), bias2 = 1.0 - std::pow(o.beta2, t);
    kernels::for_row_strips(grad.size(0), [&](std::int64_t begin, std::int64_t rows) {
      const Tensor gs = g.narrow(0, begin, rows);
      Tensor v = job.buffers[1].narrow(0, begin, rows);
      v.mul_(o.beta2).addcmul_(gs, gs, 1.0 - o.beta2);
      // 0/0 is no update.
      Tensor denominator = (v / bias2).sqrt_().add_(o.eps);
      if (o.eps == 0.0) denominator.masked_fill_(denominator == 0, std::numeric_limits<double>::infinity());
      m.narrow(0, begin, rows).div_(denominator).div_(bias1);
    });
    return rotated(m, left, right, true);
  }

  // The second moment follows its coordinates to their new places.
  static void turn_bases(Tensor& second_moment, Side& left, Side& right) {
    Side* sides[2] = {&left, &right};
    Tensor power[2], order[2];
    for (int k = 0; k < 2; ++k)
      if (sides[k]->basis.defined()) {
        power[k] = at::empty_like(sides[k]->basis);
        kernels::product(power[k], sides[k]->covariance, sides[k]->basis);
      }
    run_tasks(1, [&](std::int64_t) {
      for (int k = 0; k < 2; ++k)
        if (power[k].defined()) order[k] = turned_basis(*sides[k], power[k]);
    });
    for (int k = 0; k < 2; ++k)
      if (order[k].defined()) second_moment.copy_(second_moment.index_select(k, order[k]));
  }
};

}  // namespace scalevec::methods
