#pragma once

#include <utility>

#include "optim/methods/matrix/method.hpp"

namespace scalevec::methods {

// AdamW with one second moment for a block of elements, the running mean of the block's mean of g². Blocks: of a map to
// queries or keys whose role states head_dim the rows of a head, of any other tensor of two or more dimensions a row
// (an output neuron, a token), of others the whole. Defaults are those of the authors' code. State: 4 bytes per float
// parameter and 4 per row; a vector keeps its one number for each element, so that its rows may be moved.
struct AdamMini {
  static constexpr const char* kName = "adam_mini";
  static constexpr const char* kSource = "Zhang et al., arXiv 2406.16793";
  static constexpr MethodDefaults kDefaults{1e-3, 0.0, DecayCoupling::lr};

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "decay of the mean of g; authors' code"),
                   (double, beta2, 0.999, kFraction, "decay of a block's mean of g²; authors' code"),
                   (double, eps, 1e-8, kNonnegative, "added to √v̂, 0/0 is no update; authors' code"))

  static constexpr bool kAnyShape = true;

  static std::vector<BufferSpec> state(const Values&, c10::IntArrayRef sizes) {
    std::vector<std::int64_t> rows = sizes.vec();
    for (size_t d = 1; d < rows.size(); ++d) rows[d] = 1;
    return {{"exp_avg", sizes.vec()}, {"exp_avg_sq", rows}};
  }

  // The mean, and the gradient with clip factor and l2 decay.
  static kernels::MomentumPass::Constants<double> momentum(const Values& o, std::int64_t) {
    return {1.0 - o.beta1, 0.0};
  }

  static void form_update(const Values& o, MatrixJob& job) {
    with_state_type(job, [&](auto zero) { form<decltype(zero)>(o, job); });
  }

 private:
  template <class T>
  static void form(const Values& o, MatrixJob& job) {
    const std::int64_t rows = job.param.dim() == 0 ? 1 : job.param.size(0), cols = job.param.numel() / rows;
    T* u = job.update.data_ptr<T>();
    T* v = job.buffers[1].data_ptr<T>();
    const T* m = job.buffers[0].const_data_ptr<T>();
    const std::vector<double> squares = kernels::squared_row_norms(job.update, rows);
    const double t = static_cast<double>(job.step), bias2 = 1.0 - std::pow(o.beta2, t);
    for (const auto& [begin, end] : blocks(job, rows)) {
      double sum = 0.0, held = 0.0;
      for (std::int64_t i = begin; i < end; ++i) {
        sum += squares[static_cast<size_t>(i)];
        held += static_cast<double>(v[i]);
      }
      const double count = static_cast<double>(end - begin);
      const double next = o.beta2 * (held / count) + (1.0 - o.beta2) * (sum / (count * static_cast<double>(cols)));
      for (std::int64_t i = begin; i < end; ++i) v[i] = static_cast<T>(next);
    }
    kernels::for_row_strips(rows, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t i = first; i < first + count; ++i) {
        const double below = std::sqrt(static_cast<double>(v[i]) / bias2) + o.eps;
        const T factor = static_cast<T>(below > 0.0 ? 1.0 / below : 0.0);
        for (std::int64_t j = i * cols; j < (i + 1) * cols; ++j) u[j] = m[j] * factor;
      }
    });
    job.scale = job.options->lr() / (1.0 - std::pow(o.beta1, t));
  }

  // Each block's first row and the one behind its last.
  static std::vector<std::pair<std::int64_t, std::int64_t>> blocks(const MatrixJob& job, std::int64_t rows) {
    if (job.param.dim() < 2) return {{0, rows}};
    const std::int64_t stacked = rows / job.row_blocks;
    std::vector<std::pair<std::int64_t, std::int64_t>> out;
    for (std::int64_t b = 0; b < job.row_blocks; ++b) {
      const std::int64_t head = job.role->head_dim;
      const bool heads = head > 0 && stacked % head == 0 && (job.row_blocks != 3 || b < 2);
      for (std::int64_t i = 0; i < stacked; i += heads ? head : 1)
        out.emplace_back(b * stacked + i, b * stacked + i + (heads ? head : 1));
    }
    return out;
  }
};

}  // namespace scalevec::methods
