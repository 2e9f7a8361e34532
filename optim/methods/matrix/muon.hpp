#pragma once

#include <algorithm>

#include "optim/methods/matrix/method.hpp"

namespace scalevec::methods {

// The options that Muon's relatives have too. Singular values end in about [0.7, 1.2] under "quintic" (Jordan's) and
// converge to 1 under "polar_express" (arXiv 2505.16932). lr_scaling: η is multiplied by √max(1, rows/cols)
// ("original", Jordan), 0.2·√max(rows, cols) ("match_rms_adamw", arXiv 2502.16982) or √(rows/cols) ("spectral", arXiv
// 2310.17813), of each row block where there are several.
#define SCALEVEC_MUON_OPTIONS                                                                                       \
  (double, momentum, 0.95, kFraction, "μ of m ← μm + (1 − μ)g; torch.optim.Muon"),                                  \
      (bool, nesterov, true, kSwitch, "orthogonalises (1 − μ)g + μm in place of m; torch.optim.Muon"),              \
      (std::int64_t, ns_steps, 5, from_to(1, 99), "Newton-Schulz steps; torch.optim.Muon"),                         \
      (std::string, coefficients, "quintic", one_of("quintic, polar_express"), "of these steps; torch.optim.Muon"), \
      (double, eps, 1e-7, kNonnegative,                                                                             \
       "least norm that the matrix, scaled by a power of two to [1, 2), is divided by; torch.optim.Muon"),          \
      (std::string, lr_scaling, "original", one_of("original, match_rms_adamw, spectral"),                          \
       "by what the lr is multiplied; torch.optim.Muon"),                                                           \
      (std::string, precision, "bfloat16", one_of("bfloat16, float32, auto"),                                       \
       "of the Newton-Schulz steps, auto is the parameter's; torch.optim.Muon"),                                    \
      (bool, gram, false, later(kSwitch),                                                                           \
       "takes the steps on the Gram matrix of the smaller side, in float32 at least; ours")

// The momentum's approximate polar factor UVᵀ by Newton-Schulz steps. A role's row blocks are orthogonalised one by
// one. State: 4 bytes per float parameter.
struct Muon {
  static constexpr const char* kName = "muon";
  static constexpr const char* kSource = "Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/";
  static constexpr MethodDefaults kDefaults{1e-3, 0.1, DecayCoupling::lr};  // torch.optim.Muon's

  SCALEVEC_OPTIONS(SCALEVEC_MUON_OPTIONS)

  static std::vector<BufferSpec> state(const Values&, std::int64_t rows, std::int64_t cols) {
    return {{"momentum_buffer", {rows, cols}}};
  }

  static kernels::MomentumPass::Constants<double> momentum(const auto& o, std::int64_t) {
    return {1.0 - o.momentum, o.nesterov ? o.momentum : 1.0};
  }

  // A step: half of XXᵀ and of its square, and one full product. On the Gram matrix: four halves of products of its
  // size, and for every five steps XXᵀ and one full product.
  static double flops(const auto& o, double rows, double cols) {
    const double small = std::min(rows, cols), large = std::max(rows, cols);
    if (o.gram) {
      const double steps = static_cast<double>(o.ns_steps), groups = std::ceil(steps / 5.0);
      return 3.0 * groups * small * small * large + (4.0 * steps - 3.0 * groups) * small * small * small;
    }
    return static_cast<double>(o.ns_steps) * (3.0 * small * small * large + small * small * small);
  }

  static void form_update(const Values& o, MatrixJob& job) {
    orthogonalise(o, job);
    job.scale = job.options->lr() * lr_scale(o, job.param.sizes(), job.row_blocks, *job.role);
  }

  static void form_on_device(const Values& o, DeviceMatrices& matrices) { orthogonalise(o, matrices); }
  static double lr_scale(const Values& o, c10::IntArrayRef sizes, std::int64_t row_blocks, const ParamRole&) {
    return lr_factor(o.lr_scaling, sizes[0] / row_blocks, sizes[1]);
  }

 protected:
  static kernels::OrthogonaliseOptions steps_of(const auto& o, torch::Dtype state) {
    auto steps = kernels::orthogonalise_options(o.coefficients, o.ns_steps);
    steps.eps = o.eps;
    steps.gram = o.gram;
    steps.dtype = o.precision == "bfloat16" ? torch::kBFloat16 : o.precision == "float32" ? torch::kFloat32 : state;
    return steps;
  }

  // Every row block's polar factor.
  static void orthogonalise(const auto& o, DeviceMatrices& matrices) {
    const std::int64_t rows = matrices.update.size(1) / matrices.row_blocks;
    torch::Tensor blocks = matrices.update.view({-1, rows, matrices.update.size(2)});
    kernels::orthogonalise_batch(blocks, steps_of(o, blocks.scalar_type()));
  }
  static void orthogonalise(const auto& o, MatrixJob& job) {
    const auto steps = steps_of(o, job.param.scalar_type());
    const std::int64_t rows = job.param.size(0) / job.row_blocks;
    for (std::int64_t b = 0; b < job.row_blocks; ++b) {
      torch::Tensor block = job.update.narrow(0, b * rows, rows);
      kernels::orthogonalise(block, steps);
    }
  }

  static double lr_factor(const std::string& scaling, std::int64_t rows, std::int64_t cols) {
    const double r = static_cast<double>(rows), c = static_cast<double>(cols);
    if (scaling == "match_rms_adamw") return 0.2 * std::sqrt(std::max(r, c));
    return std::sqrt(scaling == "spectral" ? r / c : std::max(1.0, r / c));
  }
};

}  // namespace scalevec::methods
