#pragma once

#include <algorithm>

#include "optim/methods/matrix/method.hpp"

namespace scalevec::methods {

// A step along the direction that a norm of the parameter's layer allows furthest: p ← p − ηρ·lmo(m), m ← μm + (1 −
// μ)g. The constrained form, p ← (1 − η)p − ηρ·lmo(m), which keeps p in the norm's ball of radius ρ, is a weight decay
// of 1 under the coupling lr. Row blocks are matrices of their own. State: 4 bytes per float parameter.
struct Scion {
  static constexpr const char* kName = "scion";
  static constexpr const char* kSource = "Pethick et al., arXiv 2502.07529";
  static constexpr MethodDefaults kDefaults{1e-3, 1.0, DecayCoupling::lr};  // the authors' code: constrained

  SCALEVEC_OPTIONS((double, momentum, 0.9, kFraction, "μ of m ← μm + (1 − μ)g; the paper's α = 0.1"),
                   (double, scale, 1.0, kNonnegative,
                    "ρ, radius of the ball; authors' code, the paper's runs: hidden 50, head 3000"),
                   (std::string, norm, "auto", one_of("auto, spectral, sign, col, row, bias"),
                    "auto is spectral, of embeddings and heads sign, of vectors bias; the paper"),
                   (std::int64_t, ns_steps, 5, from_to(1, 99),
                    "Newton-Schulz steps of the spectral norm; authors' code"),
                   (std::string, coefficients, "quintic", one_of("quintic, polar_express"),
                    "of these steps; authors' code"),
                   (std::string, precision, "bfloat16", one_of("bfloat16, float32, auto"),
                    "of these steps, auto is the parameter's; authors' code"),
                   (double, eps, 1e-8, kNonnegative, "added to what is divided by, 0/0 is no update; authors' code"))

  static constexpr bool kAnyShape = true;

  static std::vector<BufferSpec> state(const Values&, c10::IntArrayRef sizes) {
    return {{"momentum_buffer", sizes.vec()}};
  }
  static kernels::MomentumPass::Constants<double> momentum(const Values& o, std::int64_t) {
    return {1.0 - o.momentum, 1.0};
  }
  static double flops(const Values& o, double rows, double cols) {
    const double small = std::min(rows, cols), large = std::max(rows, cols);
    return static_cast<double>(o.ns_steps) * (3.0 * small * small * large + small * small * small);
  }

  static void form_update(const Values& o, MatrixJob& job) {
    const std::string norm = chosen(o, *job.role, job.param.dim());
    const bool matrix = job.param.dim() >= 2;
    // A vector is one column.
    const std::int64_t all = matrix ? job.param.size(0) : job.param.numel(), cols = job.param.numel() / all;
    const std::int64_t rows = all / job.row_blocks;
    torch::Tensor flat = job.update.view({all, cols});
    for (std::int64_t b = 0; b < job.row_blocks; ++b) {
      torch::Tensor block = flat.narrow(0, b * rows, rows);
      if (norm == "spectral") {
        kernels::orthogonalise(block, steps_of(o, block.scalar_type()));
      } else if (block.scalar_type() == torch::kFloat64) {
        divide<double>(norm, block.data_ptr<double>(), rows, cols, o.eps);
      } else {
        divide<float>(norm, block.data_ptr<float>(), rows, cols, o.eps);
      }
    }
    job.scale = job.options->lr() * lr_scale(o, job.param.sizes(), job.row_blocks, *job.role);
  }

  static double lr_scale(const Values& o, c10::IntArrayRef sizes, std::int64_t row_blocks, const ParamRole& role) {
    if (sizes.size() < 2) return o.scale;
    const std::string norm = chosen(o, role, static_cast<std::int64_t>(sizes.size()));
    const double rows = static_cast<double>(sizes[0] / row_blocks),
                 cols = static_cast<double>(c10::multiply_integers(sizes.slice(1)));
    return o.scale * (norm == "spectral" ? std::sqrt(rows / cols) : norm == "sign" ? 1.0 / cols : 1.0);
  }

  static void form_on_device(const Values& o, DeviceMatrices& matrices) {
    using torch::Tensor;
    const std::int64_t dim = matrices.update.dim() - 1, n = matrices.update.size(0);
    const std::string norm = chosen(o, *matrices.role, dim);
    // A vector is one column.
    const std::int64_t all = dim >= 2 ? matrices.update.size(1) : matrices.update.numel() / n,
                       cols = matrices.update.numel() / (n * all), rows = all / matrices.row_blocks;
    Tensor blocks = matrices.update.view({n * matrices.row_blocks, rows, cols});
    if (norm == "spectral") return kernels::orthogonalise_batch(blocks, steps_of(o, blocks.scalar_type()));
    if (norm == "sign") {
      blocks.sign_();
      return;
    }
    const double r = static_cast<double>(rows), c = static_cast<double>(cols);
    const Tensor squares = blocks.square();
    const auto sum = [&](c10::IntArrayRef dims) { return squares.sum(dims, /*keepdim=*/true, torch::kFloat64); };
    const Tensor below = norm == "col" ? sum({1}) / r : norm == "row" ? sum({2}) * c : sum({1, 2}) / (r * c);
    blocks.mul_(inverse_or_zero(below.sqrt() + o.eps).to(blocks.scalar_type()));
  }

 private:
  static kernels::OrthogonaliseOptions steps_of(const Values& o, torch::Dtype state) {
    auto steps = kernels::orthogonalise_options(o.coefficients, o.ns_steps);
    steps.dtype = o.precision == "bfloat16" ? torch::kBFloat16 : o.precision == "float32" ? torch::kFloat32 : state;
    return steps;
  }

  static std::string chosen(const Values& o, const ParamRole& role, std::int64_t dim) {
    const ParamKind kind = role.kind;
    if (dim < 2) return o.norm == "sign" ? "sign" : "bias";
    if (o.norm != "auto") return o.norm;
    return kind == ParamKind::embedding || kind == ParamKind::unembedding ? "sign" : "spectral";
  }

  // The block's signs, or its elements over the RMS of their column (col) or of all (bias), or over √cols times the
  // norm of their row (row).
  template <class T>
  static void divide(const std::string& norm, T* x, std::int64_t rows, std::int64_t cols, double eps) {
    constexpr std::int64_t kStrip = 256;
    const std::int64_t strips = (rows + kStrip - 1) / kStrip;
    const auto for_rows = [&](const auto& body) {
      parallel_for(strips, [&](std::int64_t s) {
        for (std::int64_t i = s * kStrip; i < std::min(rows, (s + 1) * kStrip); ++i) body(s, x + i * cols, i);
      });
    };
    if (norm == "sign")
      return for_rows([&](std::int64_t, T* row, std::int64_t) {
        for (std::int64_t j = 0; j < cols; ++j) row[j] = static_cast<T>((row[j] > T(0)) - (row[j] < T(0)));
      });
    // In double, strips added in order.
    std::vector<double> of_rows(static_cast<size_t>(rows), 0.0), of_cols(static_cast<size_t>(cols), 0.0),
        partial(static_cast<size_t>(strips * cols), 0.0);
    for_rows([&](std::int64_t s, const T* row, std::int64_t i) {
      for (std::int64_t j = 0; j < cols; ++j) {
        const double square = static_cast<double>(row[j]) * static_cast<double>(row[j]);
        of_rows[static_cast<size_t>(i)] += square;
        partial[static_cast<size_t>(s * cols + j)] += square;
      }
    });
    for (size_t k = 0; k < partial.size(); ++k) of_cols[k % static_cast<size_t>(cols)] += partial[k];
    const double r = static_cast<double>(rows), c = static_cast<double>(cols);
    const auto inverse = [eps](double square) {
      const double below = std::sqrt(square) + eps;
      return below > 0.0 ? 1.0 / below : 0.0;
    };
    double all = 0.0;
    for (double& row : of_rows) {
      all += row;
      row = inverse(row * c);
    }
    for (double& col : of_cols) col = inverse(col / r);
    const double whole = inverse(all / (r * c));
    for_rows([&](std::int64_t, T* row, std::int64_t i) {
      for (std::int64_t j = 0; j < cols; ++j)
        row[j] = static_cast<T>(static_cast<double>(row[j]) * (norm == "col"   ? of_cols[static_cast<size_t>(j)]
                                                               : norm == "row" ? of_rows[static_cast<size_t>(i)]
                                                                               : whole));
    });
  }
};

}  // namespace scalevec::methods
