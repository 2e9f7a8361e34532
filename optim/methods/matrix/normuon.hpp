#pragma once

#include "optim/methods/matrix/muon.hpp"

namespace scalevec::methods {

// Muon's update with each row divided by a running root mean square of its own, then rescaled to the norm that it had.
// With lr_scaling "match_rms_adamw" the norm becomes 0.2·√(rows·cols), the paper's Algorithm 1. Defaults are those of
// the authors' code. State: 4 bytes per float parameter and 4 per row.
struct NorMuon : Muon {
  static constexpr const char* kName = "normuon";
  static constexpr const char* kSource = "Li et al., arXiv 2510.05491";
  static constexpr MethodDefaults kDefaults{2e-2, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS(SCALEVEC_MUON_OPTIONS,
                   (double, beta2, 0.95, kFraction, "decay of a row's mean square; authors' code"),
                   (double, row_eps, 1e-10, kNonnegative,
                    "added to its root, a row of zeros is not moved; authors' code"))

  static std::vector<BufferSpec> state(const Values&, std::int64_t rows, std::int64_t cols) {
    return {{"momentum_buffer", {rows, cols}}, {"second_momentum_buffer", {rows, 1}}};
  }

  static void form_update(const Values& o, MatrixJob& job) {
    orthogonalise(o, job);
    const std::int64_t rows = job.param.size(0) / job.row_blocks, cols = job.param.size(1);
    const std::vector<double> squares = kernels::squared_row_norms(job.update, job.update.size(0));
    torch::Tensor factors = at::empty_like(job.buffers[1]);
    for (std::int64_t b = 0; b < job.row_blocks; ++b) {
      torch::Tensor v = job.buffers[1].narrow(0, b * rows, rows), f = factors.narrow(0, b * rows, rows);
      if (v.scalar_type() == torch::kFloat64)
        row_factors(o, squares.data() + b * rows, cols, v.data_ptr<double>(), f.data_ptr<double>(), rows);
      else
        row_factors(o, squares.data() + b * rows, cols, v.data_ptr<float>(), f.data_ptr<float>(), rows);
    }
    kernels::for_row_strips(job.param.size(0), [&](std::int64_t begin, std::int64_t count) {
      job.update.narrow(0, begin, count).mul_(factors.narrow(0, begin, count));
    });
    job.scale = job.options->lr() * lr_scale(o, job.param.sizes(), job.row_blocks, *job.role);
  }

  static double lr_scale(const Values& o, c10::IntArrayRef sizes, std::int64_t row_blocks, const ParamRole&) {
    return o.lr_scaling == "match_rms_adamw" ? 1.0 : lr_factor(o.lr_scaling, sizes[0] / row_blocks, sizes[1]);
  }

  static void form_on_device(const Values& o, DeviceMatrices& matrices) {
    using torch::Tensor;
    orthogonalise(o, matrices);
    const Tensor before = matrices.stacked(1);  // [n, rows, 1]
    const std::int64_t n = before.size(0), all = before.size(1), cols = matrices.update.size(2),
                       rows = all / matrices.row_blocks;
    const Tensor squares = matrices.update.square().sum({2}, /*keepdim=*/true, torch::kFloat64);
    const Tensor v = (before.to(torch::kFloat64) * o.beta2 + squares * ((1.0 - o.beta2) / static_cast<double>(cols)))
                         .to(before.scalar_type());
    const auto per_block = [&](const Tensor& x) {
      return x.view({n, matrices.row_blocks, rows, 1}).sum({2}, /*keepdim=*/true);
    };
    const Tensor factor = inverse_or_zero(v.to(torch::kFloat64).sqrt() + o.row_eps);
    const Tensor after = per_block(factor * factor * squares);
    const Tensor norm = o.lr_scaling == "match_rms_adamw"
                            ? torch::full_like(after, 0.2 * std::sqrt(static_cast<double>(rows * cols)))
                            : per_block(squares).sqrt();
    const Tensor scale =
        factor.view({n, matrices.row_blocks, rows, 1}) * norm * inverse_or_zero(after.sqrt() + o.row_eps);
    matrices.update.mul_(scale.view({n, all, 1}).to(matrices.update.scalar_type()));
    matrices.keep(1, v);
  }

 private:
  // Updates the rows' mean squares v and gives what each row of the orthogonalised block is multiplied by.
  template <class T>
  static void row_factors(const Values& o, const double* squares, std::int64_t cols, T* v, T* factor,
                          std::int64_t rows) {
    double before = 0.0, after = 0.0;
    for (std::int64_t i = 0; i < rows; ++i) {
      v[i] = static_cast<T>(o.beta2 * v[i] + (1.0 - o.beta2) * squares[i] / static_cast<double>(cols));
      const double f = inverse(std::sqrt(static_cast<double>(v[i])) + o.row_eps);
      factor[i] = static_cast<T>(f);
      before += squares[i];
      after += f * f * squares[i];
    }
    const double norm =
        o.lr_scaling == "match_rms_adamw" ? 0.2 * std::sqrt(static_cast<double>(rows * cols)) : std::sqrt(before);
    for (std::int64_t i = 0; i < rows; ++i)
      factor[i] = static_cast<T>(factor[i] * (norm * inverse(std::sqrt(after) + o.row_eps)));
  }
  // A row of zeros without row_eps is not moved.
  static double inverse(double x) { return x > 0.0 ? 1.0 / x : 0.0; }
};

}  // namespace scalevec::methods
