#pragma once

#include <algorithm>
#include <limits>

#include "optim/methods/matrix/method.hpp"

namespace scalevec::methods {

// Adam's second moment of a matrix as the product of one number a row and one a column, no first moment, the update's
// RMS bounded and the lr relative to the parameter's RMS, as torch.optim.Adafactor has it. The last two dimensions are
// the matrix; a tensor of one keeps a number an element. State: 4 bytes per row and per column, of a vector 4 per
// element.
struct Adafactor {
  static constexpr const char* kName = "adafactor";
  static constexpr const char* kSource = "Shazeer & Stern, arXiv 1804.04235";
  static constexpr MethodDefaults kDefaults{1e-2, 0.0, DecayCoupling::lr};  // torch.optim.Adafactor's

  SCALEVEC_OPTIONS((double, beta2_decay, -0.8, from_to(-100, 0),
                    "β₂ of step t is 1 − t to this power; torch.optim.Adafactor"),
                   (double, eps1, 0.0, kNonnegative,
                    "least mean of the rows' numbers, its square the least v, 0 is the state's 2⁻²³ or 2⁻⁵²; "
                    "torch.optim.Adafactor"),
                   (double, eps2, 1e-3, kNonnegative,
                    "least RMS of p that the lr is relative to; torch.optim.Adafactor"),
                   (double, d, 1.0, at_least(1), "largest RMS of the update before the lr; torch.optim.Adafactor"))

  static constexpr bool kAnyShape = true;
  static constexpr bool kRowsStay = true;

  static std::vector<BufferSpec> state(const Values&, c10::IntArrayRef sizes) {
    if (sizes.size() < 2) return {{"variance", sizes.vec()}};
    std::vector<std::int64_t> rows = sizes.vec(), cols = sizes.vec();
    rows.back() = 1;
    cols[cols.size() - 2] = 1;
    return {{"row_var", rows}, {"col_var", cols}};
  }

  static void form_update(const Values& o, MatrixJob& job) {
    with_state_type(job, [&](auto zero) { form<decltype(zero)>(o, job); });
  }

  // The lr is in the update, since it depends on values.
  static void form_on_device(const Values& o, DeviceMatrices& matrices) {
    using torch::Tensor;
    Tensor& u = matrices.update;
    const std::int64_t n = u.size(0), dim = u.dim() - 1;
    const double count = static_cast<double>(u.numel() / n);
    const auto state = u.scalar_type();
    const double eps1 = o.eps1 > 0.0 ? o.eps1 : state == torch::kFloat64 ? 0x1p-52 : 0x1p-23;
    const auto per_matrix = [&](const Tensor& x) {  // [n] as wide as the update
      std::vector<std::int64_t> sizes(static_cast<size_t>(u.dim()), 1);
      sizes[0] = n;
      return x.view(sizes);
    };
    const auto rms = [&](const Tensor& norms) { return norms / std::sqrt(count); };
    const Tensor t = matrices.step(), weight = per_matrix(at::pow(t, o.beta2_decay));
    std::vector<Tensor> norms;
    for (const Tensor& p : matrices.params)
      norms.push_back(at::linalg_vector_norm(p.detach(), 2, std::nullopt, false, torch::kFloat64));
    const Tensor alpha = rms(at::stack(norms)).clamp_min(o.eps2) * at::minimum(matrices.lr, t.rsqrt());
    const auto moved = [&](const Tensor& from, const Tensor& to) {
      const Tensor wide = from.to(torch::kFloat64);
      return (wide + weight * (to - wide)).to(state);
    };
    const Tensor squares = u.square();
    Tensor v;
    if (dim < 2) {
      v = moved(matrices.stacked(0), squares.to(torch::kFloat64));
      matrices.keep(0, v);
    } else {
      const auto mean = [&](std::int64_t of) {
        return squares.sum({of}, /*keepdim=*/true, torch::kFloat64) / static_cast<double>(squares.size(of));
      };
      const Tensor row = moved(matrices.stacked(0), mean(-1)), col = moved(matrices.stacked(1), mean(-2));
      const Tensor most = row.to(torch::kFloat64).mean(-2, /*keepdim=*/true).clamp_min(eps1);
      v = (row.to(torch::kFloat64) / most).to(state) * col;
      matrices.keep(0, row);
      matrices.keep(1, col);
    }
    // 0 where eps1² is no number of the type and there has been no gradient.
    v = v.clamp_min(state == torch::kFloat64 ? eps1 * eps1 : static_cast<double>(static_cast<float>(eps1 * eps1)));
    u.mul_(inverse_or_zero(v.sqrt()));
    std::vector<std::int64_t> all(static_cast<size_t>(dim));
    for (std::int64_t d = 0; d < dim; ++d) all[static_cast<size_t>(d)] = d + 1;
    const Tensor of_update =
        dim == 0 ? u.abs().to(torch::kFloat64) : at::linalg_vector_norm(u, 2, all, false, torch::kFloat64);
    u.mul_(per_matrix(alpha / (rms(of_update) / o.d).clamp_min(1.0)).to(state));
  }

 private:
  template <class T>
  static void form(const Values& o, MatrixJob& job) {
    const double t = static_cast<double>(job.step), weight = std::pow(t, o.beta2_decay);
    const double eps1 = o.eps1 > 0.0 ? o.eps1 : static_cast<double>(std::numeric_limits<T>::epsilon());
    const torch::Tensor p = job.param.element_size() == 2 ? param_values(job) : job.param;
    const double count = static_cast<double>(p.numel());
    const double alpha =
        std::max(o.eps2, std::sqrt(kernels::squared_norm(p) / count)) * std::min(job.options->lr(), 1.0 / std::sqrt(t));
    T* u = job.update.data_ptr<T>();
    if (job.update.dim() < 2) {
      T* v = job.buffers[0].data_ptr<T>();
      for (std::int64_t i = 0; i < job.update.numel(); ++i) {
        v[i] = lerp(v[i], static_cast<double>(u[i]) * static_cast<double>(u[i]), weight);
        u[i] *= inverse_root(std::max(v[i], static_cast<T>(eps1 * eps1)));
      }
    } else {
      const std::int64_t rows = job.update.size(-2), cols = job.update.size(-1), size = rows * cols;
      for (std::int64_t b = 0; b < job.update.numel() / size; ++b)
        factored(u + b * size, rows, cols, job.buffers[0].data_ptr<T>() + b * rows,
                 job.buffers[1].data_ptr<T>() + b * cols, weight, eps1);
    }
    job.scale = alpha / std::max(1.0, std::sqrt(kernels::squared_norm(job.update) / count) / o.d);
  }

  // One matrix: its rows' and columns' means of g² into the running ones, and g times 1/√v.
  template <class T>
  static void factored(T* g, std::int64_t rows, std::int64_t cols, T* row, T* col, double weight, double eps1) {
    constexpr std::int64_t kStrip = 256;
    const std::int64_t strips = (rows + kStrip - 1) / kStrip;
    std::vector<double> of_rows(static_cast<size_t>(rows)), of_cols(static_cast<size_t>(strips * cols), 0.0);
    const auto for_rows = [&](const auto& body) {
      parallel_for(strips, [&](std::int64_t s) {
        for (std::int64_t i = s * kStrip; i < std::min(rows, (s + 1) * kStrip); ++i) body(s, i);
      });
    };
    for_rows([&](std::int64_t s, std::int64_t i) {
      double sum = 0.0, *add_to = of_cols.data() + s * cols;
      for (std::int64_t j = 0; j < cols; ++j) {
        const double x = static_cast<double>(g[i * cols + j]);
        add_to[j] += x * x;
        sum += x * x;
      }
      of_rows[static_cast<size_t>(i)] = sum;
    });
    double mean = 0.0;
    for (std::int64_t i = 0; i < rows; ++i) {
      row[i] = lerp(row[i], of_rows[static_cast<size_t>(i)] / static_cast<double>(cols), weight);
      mean += static_cast<double>(row[i]) / static_cast<double>(rows);
    }
    for (std::int64_t j = 0; j < cols; ++j) {
      double sum = 0.0;
      for (std::int64_t s = 0; s < strips; ++s) sum += of_cols[static_cast<size_t>(s * cols + j)];
      col[j] = lerp(col[j], sum / static_cast<double>(rows), weight);
    }
    const double over = 1.0 / std::max(mean, eps1);
    const T least = static_cast<T>(eps1 * eps1);
    for_rows([&](std::int64_t, std::int64_t i) {
      const T factor = static_cast<T>(static_cast<double>(row[i]) * over);
      for (std::int64_t j = 0; j < cols; ++j) {
        const T v = factor * col[j];
        g[i * cols + j] *= inverse_root(v < least ? least : v);
      }
    });
  }

  template <class T>
  static T lerp(T from, double to, double weight) {
    return static_cast<T>(static_cast<double>(from) + weight * (to - static_cast<double>(from)));
  }
  // 0 where eps1² is no number of the type and there has been no gradient.
  template <class T>
  static T inverse_root(T v) {
    return v > T(0) ? T(1) / std::sqrt(v) : T(0);
  }
};

}  // namespace scalevec::methods
