#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "scalevec/optim/matrix/products.hpp"
#include "scalevec/optim/matrix_methods.hpp"
#include "scalevec/optim/method.hpp"
#include "scalevec/optim/parallel/parallel.hpp"

namespace scalevec {
namespace {

using torch::Tensor;

// One side's preconditioner, the running mean of ggᵀ or gᵀg, and its approximate eigenbasis by descending eigenvalue.
struct Side {
  Tensor covariance, basis;  // undefined for a side that is not rotated
};

// A gradient whose square float cannot hold would leave a basis of NaNs, or an infinite mean, for later steps.
void check_finite(const Tensor& squares) {
  if (!std::isfinite(squares.sum().item<double>()))
    throw std::runtime_error("the square of its gradient is not finite; nothing has changed");
}
void check_finite(const Side& side) { check_finite(side.covariance.diagonal()); }

// X rotated into the bases, Qₗᵀ·X·Qᵣ, or back.
Tensor rotated(const Tensor& x, const Side& left, const Side& right, bool back) {
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

void eigenbasis(Side& side) { side.basis.copy_(std::get<1>(at::linalg_eigh(side.covariance)).flip({1})); }

// One power iteration and a QR decomposition, the columns sorted by their estimated eigenvalue; gives the order.
Tensor turned_basis(Side& side, const Tensor& power) {
  const Tensor estimate = (side.basis * power).sum(0);
  const Tensor order = std::get<1>(at::sort(estimate, /*stable=*/true, /*dim=*/0, /*descending=*/true));
  side.basis.copy_(std::get<0>(at::linalg_qr(power.index_select(1, order))));
  return order;
}

class SOAPMethod : public MatrixMethod {
 public:
  std::vector<BufferSpec> state(const MethodOptions& options, c10::IntArrayRef sizes) const override {
    const std::int64_t longest = static_cast<const SOAPOptions&>(options).max_precond_dim();
    std::vector<BufferSpec> out{{"exp_avg", sizes.vec()}, {"exp_avg_sq", sizes.vec()}};
    const char* names[2][2] = {{"left", "left_basis"}, {"right", "right_basis"}};
    for (size_t side = 0; side < 2; ++side)
      for (const char* name : names[side]) out.push_back({name, {sizes[side], sizes[side]}, sizes[side] <= longest});
    return out;
  }
  bool same_buffers(const MethodOptions& a, const MethodOptions& b) const override {
    return static_cast<const SOAPOptions&>(a).max_precond_dim() == static_cast<const SOAPOptions&>(b).max_precond_dim();
  }
  // The second moment is in the basis of the rows.
  bool rows_may_move() const override { return false; }

  // The running mean of the gradient, left alone by the first step, and the gradient with clip factor and l2 decay.
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step,
                     bool) const override {
    const double beta1 = static_cast<const SOAPOptions&>(options).beta1();
    return rules::Momentum<double>{decay, step == 1 ? 0.0 : 1.0 - beta1, 0.0};
  }

  bool factorises() const override { return true; }

  void form_update(MatrixJob& job) const override {
    const auto& o = static_cast<const SOAPOptions&>(*job.options);
    const auto buffer = [&](std::string_view name) {
      const auto at = std::find(job.names.begin(), job.names.end(), name) - job.names.begin();
      return at < static_cast<std::ptrdiff_t>(job.names.size()) ? job.buffers[static_cast<size_t>(at)] : Tensor();
    };
    Side left{buffer("left"), buffer("left_basis")}, right{buffer("right"), buffer("right_basis")};
    const bool first = job.step == 1;
    const Tensor grad = averaged(job, rule(o, job.decay, job.step, false));
    if (first) {
      job.update = at::zeros_like(grad);
      job.decay.shrink = 0.0;
    } else {
      job.update = adam_in_basis(o, job, grad, left, right);
      job.scale = o.lr();
    }
    if (left.basis.defined())
      kernels::symmetric_product(left.covariance, grad, 1.0 - o.shampoo_beta(), left.covariance, o.shampoo_beta());
    if (right.basis.defined())
      kernels::symmetric_product(right.covariance, grad.t(), 1.0 - o.shampoo_beta(), right.covariance,
                                 o.shampoo_beta());
    for (const Side* s : {&left, &right})
      if (s->basis.defined()) check_finite(*s);
    if (!left.basis.defined() && !right.basis.defined()) check_finite(job.buffers[1]);
    if (first)
      kernels::run_tasks(1, [&](std::int64_t) {
        for (Side* s : {&left, &right})
          if (s->basis.defined()) eigenbasis(*s);
      });
    else if ((job.step - 1) % o.precondition_frequency() == 0)
      turn_bases(job.buffers[1], left, right);
  }

 private:
  static Tensor averaged(const MatrixJob& job, const kernels::Rule& rule) {
    Tensor grad = at::empty_like(job.buffers[0]);
    const kernels::Job pass = momentum_pass(job, rule, grad);
    kernels::step({&pass, 1}, {}, kernels::parallel_for);
    return grad;
  }

  static Tensor adam_in_basis(const SOAPOptions& o, const MatrixJob& job, const Tensor& grad, const Side& left,
                              const Side& right) {
    const Tensor g = rotated(grad, left, right, false);
    Tensor m = rotated(job.buffers[0], left, right, false);
    if (m.is_same(job.buffers[0])) m = m.clone();
    const double t = static_cast<double>(job.step - 1);
    const double bias1 = 1.0 - std::pow(o.beta1(), t), bias2 = 1.0 - std::pow(o.beta2(), t);
    kernels::for_row_strips(grad.size(0), [&](std::int64_t begin, std::int64_t rows) {
      const Tensor gs = g.narrow(0, begin, rows);
      Tensor v = job.buffers[1].narrow(0, begin, rows);
      v.mul_(o.beta2()).addcmul_(gs, gs, 1.0 - o.beta2());
      // 0/0 is no update.
      Tensor denominator = (v / bias2).sqrt_().add_(o.eps());
      if (o.eps() == 0.0) denominator.masked_fill_(denominator == 0, std::numeric_limits<double>::infinity());
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
    kernels::run_tasks(1, [&](std::int64_t) {
      for (int k = 0; k < 2; ++k)
        if (power[k].defined()) order[k] = turned_basis(*sides[k], power[k]);
    });
    for (int k = 0; k < 2; ++k)
      if (order[k].defined()) second_moment.copy_(second_moment.index_select(k, order[k]));
  }
};

}  // namespace

std::vector<OptionField> SOAPOptions::fields() {
  constexpr double inf = std::numeric_limits<double>::infinity();
  auto fields = MethodOptions::fields();
  fields.push_back(fraction("beta1", &beta1_));
  fields.push_back(fraction("beta2", &beta2_));
  fields.push_back(fraction("shampoo_beta", &shampoo_beta_));
  fields.push_back(nonnegative("eps", &eps_));
  fields.push_back({"precondition_frequency", &precondition_frequency_, 1, inf, false, {}});
  fields.push_back({"max_precond_dim", &max_precond_dim_, 0, inf, false, {}});
  return fields;
}

const Method& SOAPOptions::implementation() const { return method_instance<SOAPMethod>(); }

}  // namespace scalevec
