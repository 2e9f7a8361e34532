#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scalevec/optim/matrix/orthogonalise.hpp"
#include "scalevec/optim/matrix/products.hpp"
#include "scalevec/optim/matrix_methods.hpp"
#include "scalevec/optim/method.hpp"
#include "scalevec/optim/parallel/parallel.hpp"

namespace scalevec {
namespace {

using torch::Tensor;

torch::Dtype iteration_dtype(const std::string& precision, torch::Dtype param) {
  if (precision == "bfloat16") return torch::kBFloat16;
  return precision == "float32" ? torch::kFloat32 : param;
}

double lr_factor(const std::string& scaling, std::int64_t rows, std::int64_t cols) {
  const double r = static_cast<double>(rows), c = static_cast<double>(cols);
  if (scaling == "match_rms_adamw") return 0.2 * std::sqrt(std::max(r, c));
  return std::sqrt(scaling == "spectral" ? r / c : std::max(1.0, r / c));
}

template <class Options>
kernels::Rule momentum_rule(const Options& o, const rules::Decay<double>& decay) {
  return rules::Momentum<double>{decay, 1.0 - o.momentum(), o.nesterov() ? o.momentum() : 1.0};
}

// Momentum in one pass, then every row block's polar factor in `job.update`.
template <class Options>
void orthogonalised_momentum(const Options& o, const kernels::Rule& rule, MatrixJob& job) {
  job.update = at::empty_like(job.buffers[0]);
  const kernels::Job pass = momentum_pass(job, rule, job.update);
  kernels::step({&pass, 1}, {}, kernels::parallel_for);
  auto steps = kernels::orthogonalise_options(o.coefficients(), o.ns_steps());
  steps.eps = o.eps();
  steps.dtype = iteration_dtype(o.precision(), job.param.scalar_type());
  const std::int64_t rows = job.param.size(0) / job.row_blocks;
  for (std::int64_t b = 0; b < job.row_blocks; ++b) {
    Tensor block = job.update.narrow(0, b * rows, rows);
    kernels::orthogonalise(block, steps);
  }
}

class MuonMethod : public MatrixMethod {
 public:
  std::vector<BufferSpec> state(const MethodOptions&, c10::IntArrayRef sizes) const override {
    return {{"momentum_buffer", sizes.vec()}};
  }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t,
                     bool) const override {
    return momentum_rule(static_cast<const MuonOptions&>(options), decay);
  }
  void form_update(MatrixJob& job) const override {
    const auto& o = static_cast<const MuonOptions&>(*job.options);
    orthogonalised_momentum(o, rule(o, job.decay, job.step, false), job);
    job.scale = o.lr() * lr_factor(o.lr_scaling(), job.param.size(0) / job.row_blocks, job.param.size(1));
  }
};

// Σ u² of each row, in double.
std::vector<double> row_squares(const Tensor& u) {
  const auto dtype = u.scalar_type() == torch::kFloat64 ? kernels::Dtype::float64 : kernels::Dtype::float32;
  const auto* data = static_cast<const char*>(u.const_data_ptr());
  std::vector<kernels::GradView> rows;
  for (std::int64_t i = 0; i < u.size(0); ++i)
    rows.push_back({dtype, data + i * u.size(1) * static_cast<std::int64_t>(u.element_size()), u.size(1)});
  return kernels::squared_norms(rows, kernels::parallel_for);
}

class NorMuonMethod : public MatrixMethod {
 public:
  std::vector<BufferSpec> state(const MethodOptions&, c10::IntArrayRef sizes) const override {
    return {{"momentum_buffer", sizes.vec()}, {"second_momentum_buffer", {sizes[0], 1}}};
  }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t,
                     bool) const override {
    return momentum_rule(static_cast<const NorMuonOptions&>(options), decay);
  }
  void form_update(MatrixJob& job) const override {
    const auto& o = static_cast<const NorMuonOptions&>(*job.options);
    orthogonalised_momentum(o, rule(o, job.decay, job.step, false), job);
    const std::int64_t rows = job.param.size(0) / job.row_blocks, cols = job.param.size(1);
    const std::vector<double> squares = row_squares(job.update);
    Tensor factors = at::empty_like(job.buffers[1]);
    for (std::int64_t b = 0; b < job.row_blocks; ++b) {
      Tensor v = job.buffers[1].narrow(0, b * rows, rows), f = factors.narrow(0, b * rows, rows);
      if (v.scalar_type() == torch::kFloat64)
        row_factors(o, squares.data() + b * rows, cols, v.data_ptr<double>(), f.data_ptr<double>(), rows);
      else
        row_factors(o, squares.data() + b * rows, cols, v.data_ptr<float>(), f.data_ptr<float>(), rows);
    }
    kernels::for_row_strips(job.param.size(0), [&](std::int64_t begin, std::int64_t count) {
      job.update.narrow(0, begin, count).mul_(factors.narrow(0, begin, count));
    });
    job.scale = o.lr() * (o.lr_scaling() == "match_rms_adamw" ? 1.0 : lr_factor(o.lr_scaling(), rows, cols));
  }

 private:
  // Updates the rows' mean squares v and gives what each row of the orthogonalised block is multiplied by.
  template <class T>
  static void row_factors(const NorMuonOptions& o, const double* squares, std::int64_t cols, T* v, T* factor,
                          std::int64_t rows) {
    double before = 0.0, after = 0.0;
    for (std::int64_t i = 0; i < rows; ++i) {
      v[i] = static_cast<T>(o.beta2() * v[i] + (1.0 - o.beta2()) * squares[i] / static_cast<double>(cols));
      const double f = inverse(std::sqrt(static_cast<double>(v[i])) + o.row_eps());
      factor[i] = static_cast<T>(f);
      before += squares[i];
      after += f * f * squares[i];
    }
    const double norm =
        o.lr_scaling() == "match_rms_adamw" ? 0.2 * std::sqrt(static_cast<double>(rows * cols)) : std::sqrt(before);
    for (std::int64_t i = 0; i < rows; ++i)
      factor[i] = static_cast<T>(factor[i] * (norm * inverse(std::sqrt(after) + o.row_eps())));
  }
  // A row of zeros without row_eps is not moved.
  static double inverse(double x) { return x > 0.0 ? 1.0 / x : 0.0; }
};

}  // namespace

template <class Derived>
std::vector<OptionField> MuonOptionsOf<Derived>::fields() {
  auto fields = MethodOptions::fields();
  fields.push_back(fraction("momentum", &momentum_));
  fields.push_back({"nesterov", &nesterov_, 0, 0, false, {}});
  fields.push_back({"ns_steps", &ns_steps_, 1, 99, false, {}});
  fields.push_back({"coefficients", &coefficients_, 0, 0, false, {"quintic", "polar_express"}});
  fields.push_back(nonnegative("eps", &eps_));
  fields.push_back({"lr_scaling", &lr_scaling_, 0, 0, false, {"original", "match_rms_adamw", "spectral"}});
  fields.push_back({"precision", &precision_, 0, 0, false, {"bfloat16", "float32", "auto"}});
  return fields;
}

template class MuonOptionsOf<MuonOptions>;
template class MuonOptionsOf<NorMuonOptions>;

std::vector<OptionField> NorMuonOptions::fields() {
  auto fields = MuonOptionsOf<NorMuonOptions>::fields();
  fields.push_back(fraction("beta2", &beta2_));
  fields.push_back(nonnegative("row_eps", &row_eps_));
  return fields;
}

const Method& MuonOptions::implementation() const { return method_instance<MuonMethod>(); }
const Method& NorMuonOptions::implementation() const { return method_instance<NorMuonMethod>(); }

}  // namespace scalevec
