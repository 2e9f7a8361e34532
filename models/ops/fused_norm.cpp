#include <ATen/record_function.h>

#include "models/ops/device.hpp"
#include "models/ops/fused.hpp"
#include "models/ops/kernel_rows.hpp"

namespace scalevec::models::ops {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// Of x, or of x + added, which it then returns too: {y} or {y, sum}.
struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static tensor_list forward(AutogradContext* context, const Tensor& input, const Maybe& added,
                             const Maybe& maybe_gamma, double eps) {
    const Tensor x = with_row_strides(input), gamma = or_undefined(maybe_gamma),
                 add = added ? with_row_strides(*added) : Tensor();
    const std::int64_t n = row_count(x), d = x.size(-1);
    Tensor y = at::empty(x.sizes(), x.options()), rstd = at::empty({n}, x.options());
    Tensor sum = add.defined() ? at::empty(x.sizes(), x.options()) : Tensor();
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto rows = rows_of<T>(x), more = rows_of<T>(add);
      const T* scale = data_or_null<T>(gamma);
      over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        if (add.defined())
          row_kernels<T>().add_norm(rows, more, scale, static_cast<T>(eps), sum.data_ptr<T>(), y.data_ptr<T>(),
                                    rstd.data_ptr<T>(), d, begin, end);
        else
          row_kernels<T>().norm(rows, scale, static_cast<T>(eps), y.data_ptr<T>(), rstd.data_ptr<T>(), d, begin, end);
      });
    });
    context->set_materialize_grads(false);
    context->saved_data["added"] = add.defined();
    context->save_for_backward({!gamma.defined() ? y : add.defined() ? sum : x, rstd, gamma});
    return add.defined() ? tensor_list{y, sum} : tensor_list{y};
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const bool added = context->saved_data["added"].toBool();
    // Of a sum that nothing else reads.
    const Tensor more = added && grads[1].defined() ? with_row_strides(grads[1]) : Tensor();
    if (!grads[0].defined()) return {more, added ? more : Tensor(), Tensor(), Tensor()};
    const auto saved = context->get_saved_variables();
    const Tensor grad = with_row_strides(grads[0]);
    const Tensor &x = saved[0], &rstd = saved[1], &gamma = saved[2];
    const std::int64_t n = row_count(x), d = x.size(-1);
    Tensor dx = at::empty(x.sizes(), x.options()), dgamma;
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto g = rows_of<T>(grad), other = rows_of<T>(more);
      T* to = dx.data_ptr<T>();
      const T* scale = rstd.const_data_ptr<T>();
      if (!gamma.defined()) {
        over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
          row_kernels<T>().unscaled_norm_backward(g, x.const_data_ptr<T>(), scale, other, to, d, begin, end);
        });
        return;
      }
      Tensor parts = at::zeros({chunk_count(n), d}, x.options());
      const auto rows = rows_of<T>(x);
      over_rows(n, [&](std::int64_t c, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().norm_backward(g, rows, gamma.const_data_ptr<T>(), scale, other, to,
                                       parts.data_ptr<T>() + c * d, d, begin, end);
      });
      dgamma = sum_of_parts<T>(parts);
    });
    return {dx, added ? dx : Tensor(), dgamma, Tensor()};
  }
};

// m·α/√(mean α²), m = magnitude or e^magnitude.
struct Radial : torch::autograd::Function<Radial> {
  static Tensor forward(AutogradContext* context, const Tensor& alpha, const Tensor& magnitude, bool exponential) {
    const std::int64_t d = alpha.size(0);
    Tensor unit = at::empty({d}, alpha.options()), rstd = at::empty({1}, alpha.options());
    by_dtype(alpha, [&](auto zero) {
      using T = decltype(zero);
      row_kernels<T>().norm({alpha.const_data_ptr<T>(), 1, d, 0}, nullptr, T(0), unit.data_ptr<T>(), rstd.data_ptr<T>(),
                            d, 0, 1);
    });
    const Tensor factor = exponential ? magnitude.exp() : magnitude;
    context->saved_data["exponential"] = exponential;
    context->save_for_backward({unit, rstd, factor});
    return unit * factor;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &unit = saved[0], &rstd = saved[1], &factor = saved[2];
    const Tensor grad = grads[0].contiguous();
    const std::int64_t d = unit.size(0);
    Tensor dalpha = at::empty({d}, unit.options());
    by_dtype(unit, [&](auto zero) {
      using T = decltype(zero);
      row_kernels<T>().unscaled_norm_backward({grad.const_data_ptr<T>(), 1, d, 0}, unit.const_data_ptr<T>(),
                                              rstd.const_data_ptr<T>(), {}, dalpha.data_ptr<T>(), d, 0, 1);
    });
    Tensor dmagnitude = at::dot(grad, unit).view({1});
    if (context->saved_data["exponential"].toBool()) dmagnitude = dmagnitude * factor;
    return {dalpha.mul_(factor), dmagnitude, Tensor()};
  }
};

// The type of the norm of x, which has this type, on a device: the products' for them, under autocast else float32.
torch::ScalarType device_type(const Tensor& x, torch::ScalarType type, Reader reader) {
  if (!device::in_autocast(x)) return type;
  const torch::ScalarType product = device::product_type(x);
  return reader == Reader::products && product == torch::kBFloat16 ? product : torch::kFloat32;
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& gamma, double eps, Reader reader) {
  RECORD_FUNCTION("scalevec::rms_norm", std::vector<c10::IValue>{});
  if (device::takes(x)) return device::rms_norm(x, gamma, eps, device_type(x, x.scalar_type(), reader));
  if (takes_kernels(x)) return RmsNorm::apply(unrounded(x), Maybe(), maybe(gamma), eps)[0];
  return composed::rms_norm(x, gamma, eps);
}

NormOfSum rms_norm_of_sum(const Tensor& x, const Tensor& added, const Tensor& gamma, double eps, Reader reader) {
  RECORD_FUNCTION("scalevec::rms_norm_of_sum", std::vector<c10::IValue>{});
  if (x.sizes() == added.sizes()) {
    if (device::takes(x) && device::takes(added)) {
      const auto type = c10::promoteTypes(x.scalar_type(), added.scalar_type());
      // Under autocast the residual stream is in float32.
      const Tensor first = device::in_autocast(x) && type == torch::kBFloat16 ? x.to(torch::kFloat32) : x;
      const auto [sum, y] = device::rms_norm_of_sum(first, added, gamma, eps, device_type(x, type, reader));
      return {sum, y};
    }
    if (takes_kernels(x)) {
      const tensor_list out = RmsNorm::apply(unrounded(x), maybe(unrounded(added)), maybe(gamma), eps);
      return {out[1], out[0]};
    }
  }
  const Tensor sum = x + added;
  return {sum, rms_norm(sum, gamma, eps, reader)};
}

Tensor radial(const Tensor& alpha, const Tensor& magnitude, bool exponential) {
  const bool on_device =
      device::takes(alpha) && alpha.scalar_type() == torch::kFloat32 && magnitude.scalar_type() == torch::kFloat32;
  if (!on_device && (!takes_kernels(alpha) || !alpha.is_contiguous()))
    return composed::radial(alpha, magnitude, exponential);
  RECORD_FUNCTION("scalevec::radial", std::vector<c10::IValue>{});
  return on_device ? device::radial(alpha, magnitude, exponential) : Radial::apply(alpha, magnitude, exponential);
}

}  // namespace scalevec::models::ops
