#pragma once

#include <algorithm>

#include "optim/core/random.hpp"
#include "optim/methods/matrix/method.hpp"

namespace scalevec::methods {

// An orthonormalised update of low rank: one power iteration on B = m + g from the last right basis gives P and R =
// BᵀP; what PRᵀ leaves of B stays in m (error feedback), and p moves along P times R's normalised columns (Algorithm 1,
// one process). State of a float matrix [r, c] at rank k: 4rc + 4ck bytes.
struct Dion {
  static constexpr const char* kName = "dion";
  static constexpr const char* kSource = "Ahn et al., arXiv 2504.05295";
  static constexpr MethodDefaults kDefaults{1e-2, 0.01, DecayCoupling::lr};  // the authors' code

  SCALEVEC_OPTIONS((double, mu, 0.95, kFraction, "μ, what the next step keeps of PRᵀ; the paper"),
                   (double, rank_fraction, 1.0, from_to(0, 1),
                    "the rank is this share of the smaller side, rounded up and at least 1; authors' code"),
                   (double, eps, 1e-8, kNonnegative,
                    "added to the norm of a column of R, 0/0 is no update; authors' code"))

  static constexpr bool kFactorises = true;
  static constexpr bool kRowsStay = true;  // the right basis is by column

  static std::int64_t rank(const Values& o, std::int64_t rows, std::int64_t cols) {
    const double small = static_cast<double>(std::min(rows, cols));
    return std::max<std::int64_t>(std::min<std::int64_t>(1, std::min(rows, cols)),
                                  static_cast<std::int64_t>(std::ceil(o.rank_fraction * small)));
  }
  static std::vector<BufferSpec> state(const Values& o, std::int64_t rows, std::int64_t cols) {
    return {{"momentum", {rows, cols}},
            {"right_basis", {cols, rank(o, rows, cols)}, true, BufferSpec::Kind::values, &fill_normal}};
  }

  // The momentum as it is, and the gradient with clip factor and l2 decay.
  static kernels::MomentumPass::Constants<double> momentum(const Values&, std::int64_t) { return {0.0, 0.0}; }

  // BQ, BᵀP, PRᵀ and the update.
  static double flops(const Values& o, double rows, double cols) {
    return 8.0 * rows * cols *
           static_cast<double>(rank(o, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols)));
  }

  static void form_update(const Values& o, MatrixJob& job) {
    Tensor &b = job.buffers[0], &q = job.buffers[1];
    kernels::for_row_strips(b.size(0), [&](std::int64_t begin, std::int64_t rows) {
      b.narrow(0, begin, rows).add_(job.update.narrow(0, begin, rows));
    });
    const double r = static_cast<double>(b.size(0)), c = static_cast<double>(b.size(1));
    job.scale = job.options->lr() * std::sqrt(r / c);
    Tensor p = at::empty({b.size(0), q.size(1)}, b.options()), right = at::empty_like(q);
    kernels::product(p, b, q);
    bool zero = false;
    run_tasks(1, [&](std::int64_t) {
      zero = !p.any().item<bool>();
      if (!zero) p = std::get<0>(at::linalg_qr(p));
    });
    // Nothing that the basis sees: no update, and the basis stays.
    if (zero) {
      job.update.zero_();
      return;
    }
    kernels::product(right, b.t(), p);
    // What is left of B: B − (1 − μ)PRᵀ.
    const Tensor taken = p.mul(o.mu - 1.0), right_t = right.t();
    Tensor left = at::empty_like(b);
    kernels::product(left, taken, right_t, b, 1.0);
    b.copy_(left);
    run_tasks(1, [&](std::int64_t) {
      const Tensor norms = at::linalg_vector_norm(right, 2, {0}, true);
      // Beyond B's numerical rank a column is rounding and no direction. It keeps its place in the basis, or no later
      // gradient could bring it back.
      const Tensor gone = norms <= norms.max() * (std::max(r, c) * epsilon_of(right));
      right.div_(norms + o.eps).masked_fill_(gone, 0);
      q.copy_(at::where(gone, q, right));
    });
    kernels::product(job.update, p, right.t());
  }

  static double lr_scale(const Values&, c10::IntArrayRef sizes, std::int64_t, const ParamRole&) {
    return std::sqrt(static_cast<double>(sizes[0]) / static_cast<double>(sizes[1]));
  }

  static void form_on_device(const Values& o, DeviceMatrices& matrices) {
    const Tensor q = matrices.stacked(1);  // [n, cols, rank]
    const Tensor b = matrices.stacked(0) + matrices.update, seen_by_basis = at::bmm(b, q);
    const Tensor p = std::get<0>(at::linalg_qr(seen_by_basis)), right = at::bmm(b.transpose(1, 2), p);
    const Tensor left = at::baddbmm(b, p, right.transpose(1, 2), 1.0, o.mu - 1.0);
    const Tensor norms = at::linalg_vector_norm(right, 2, {1}, /*keepdim=*/true);
    const double r = static_cast<double>(b.size(1)), c = static_cast<double>(b.size(2));
    const Tensor gone = norms <= norms.amax({2}, /*keepdim=*/true) * (std::max(r, c) * epsilon_of(right));
    const Tensor unit = (right / (norms + o.eps)).masked_fill_(gone, 0);
    // Nothing that the basis sees: no update, and the basis stays.
    const Tensor seen = (seen_by_basis != 0).flatten(1).any(1).view({-1, 1, 1});
    matrices.update.copy_(at::bmm(p, unit.transpose(1, 2)).masked_fill_(~seen, 0));
    matrices.keep(0, at::where(seen, left, b));
    matrices.keep(1, at::where(seen & ~gone, unit, q));
  }

 private:
  using Tensor = torch::Tensor;

  static double epsilon_of(const Tensor& x) { return x.scalar_type() == torch::kFloat64 ? 0x1p-52 : 0x1p-23; }

  // A function of the shape only, so that a run can be repeated.
  static void fill_normal(Tensor& q) {
    for (std::int64_t i = 0; i < q.size(0); ++i)
      for (std::int64_t j = 0; j < q.size(1); ++j) {
        const double x = random_normal(0, stream_of(kName), static_cast<std::uint64_t>(i * q.size(1) + j));
        if (q.scalar_type() == torch::kFloat64)
          q.data_ptr<double>()[i * q.size(1) + j] = x;
        else
          q.data_ptr<float>()[i * q.size(1) + j] = static_cast<float>(x);
      }
  }
};

}  // namespace scalevec::methods
