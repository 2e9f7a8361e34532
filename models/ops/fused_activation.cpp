#include <ATen/record_function.h>

#include "models/ops/device.hpp"
#include "models/ops/fused.hpp"
#include "models/ops/kernel_rows.hpp"

namespace scalevec::models::ops {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  // `normed` as in normed_swiglu().
  static Tensor forward(AutogradContext* context, const Tensor& first, const Tensor& second, const Maybe& maybe_gamma,
                        bool normed, double eps) {
    const Tensor gate = with_row_strides(first), up = with_row_strides(second), gamma = or_undefined(maybe_gamma);
    const std::int64_t h = gate.size(-1), n = row_count(gate);
    Tensor y = at::empty(gate.sizes(), gate.options()), rstd = normed ? at::empty({n, 2}, gate.options()) : Tensor();
    by_dtype(gate, [&](auto zero) {
      using T = decltype(zero);
      const auto a = rows_of<T>(gate), b = rows_of<T>(up);
      over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().swiglu(a, b, data_or_null<T>(gamma), static_cast<T>(eps), y.data_ptr<T>(),
                                normed ? rstd.data_ptr<T>() : nullptr, h, begin, end);
      });
    });
    context->save_for_backward({gate, up, gamma, rstd});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &gate = saved[0], &up = saved[1], &gamma = saved[2], &rstd = saved[3];
    const Tensor grad = with_row_strides(grads[0]);
    const std::int64_t h = gate.size(-1), n = row_count(gate);
    Tensor dgate = at::empty(gate.sizes(), gate.options()), dup = at::empty(up.sizes(), up.options()), dgamma;
    by_dtype(gate, [&](auto zero) {
      using T = decltype(zero);
      const auto a = rows_of<T>(gate), b = rows_of<T>(up), g = rows_of<T>(grad);
      Tensor parts = gamma.defined() ? at::zeros({chunk_count(n), h}, gate.options()) : Tensor();
      over_rows(n, [&](std::int64_t c, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().swiglu_backward(g, a, b, data_or_null<T>(gamma), data_or_null<T>(rstd), dgate.data_ptr<T>(),
                                         dup.data_ptr<T>(), parts.defined() ? parts.data_ptr<T>() + c * h : nullptr, h,
                                         begin, end);
      });
      if (parts.defined()) dgamma = sum_of_parts<T>(parts);
    });
    return {dgate, dup, dgamma, Tensor(), Tensor()};
  }
};

struct Rotate : torch::autograd::Function<Rotate> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& cos, const Tensor& sin) {
    context->save_for_backward({cos, sin});
    return run(x, cos, sin, 1);
  }

  static Tensor run(const Tensor& input, const Tensor& cos, const Tensor& sin, int sign) {
    const Tensor x = with_row_strides(input);
    const std::int64_t length = x.size(1), heads = x.size(2), d = x.size(3);
    Tensor y = at::empty(x.sizes(), x.options());
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto rows = rows_of<T>(x);
      over_rows(row_count(x), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().rotate(rows, cos.const_data_ptr<T>(), sin.const_data_ptr<T>(), static_cast<T>(sign),
                                y.data_ptr<T>(), length, heads, d, begin, end);
      });
    });
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    return {run(grads[0], saved[0], saved[1], -1), Tensor(), Tensor()};
  }
};

struct NormRotate : torch::autograd::Function<NormRotate> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Maybe& maybe_gamma, const Tensor& cos,
                        const Tensor& sin, bool per_head, double eps) {
    const Tensor x = input.contiguous(), gamma = or_undefined(maybe_gamma);
    const NormRows s(x, per_head);
    Tensor y = at::empty(x.sizes(), x.options()), rstd = at::empty({s.rows}, x.options());
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      over_rows(s.rows, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().norm_rotate(x.const_data_ptr<T>(), data_or_null<T>(gamma), cos.const_data_ptr<T>(),
                                     sin.const_data_ptr<T>(), static_cast<T>(eps), y.data_ptr<T>(), rstd.data_ptr<T>(),
                                     s.length, s.rows_per_token, s.together, s.d, begin, end);
      });
    });
    context->saved_data["per_head"] = per_head;
    context->save_for_backward({x, gamma, rstd, cos, sin});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &gamma = saved[1], &rstd = saved[2], &cos = saved[3], &sin = saved[4];
    const NormRows s(x, context->saved_data["per_head"].toBool());
    const Tensor grad = with_row_strides(grads[0]);
    Tensor dx = at::empty(x.sizes(), x.options()), dgamma;
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const std::int64_t width = s.together * s.d;
      const auto g = rows_of<T>(grad);
      Tensor parts = gamma.defined() ? at::zeros({chunk_count(s.rows), width}, x.options()) : Tensor();
      over_rows(s.rows, [&](std::int64_t c, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().norm_rotate_backward(
            g, x.const_data_ptr<T>(), data_or_null<T>(gamma), rstd.const_data_ptr<T>(), cos.const_data_ptr<T>(),
            sin.const_data_ptr<T>(), dx.data_ptr<T>(), parts.defined() ? parts.data_ptr<T>() + c * width : nullptr,
            s.length, s.rows_per_token, s.together, s.d, begin, end);
      });
      if (parts.defined()) dgamma = sum_of_parts<T>(parts);
    });
    return {dx, dgamma, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

// Back to the precision that autocast gave the operator's input.
Tensor like(const Tensor& y, const Tensor& x) { return y.to(x.scalar_type()); }

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  RECORD_FUNCTION("scalevec::swiglu", std::vector<c10::IValue>{});
  if (device::takes(gate) && up.scalar_type() == gate.scalar_type()) return device::swiglu(gate, up);
  if (!takes_kernels(gate)) return composed::swiglu(gate, up);
  return like(SwiGlu::apply(unrounded(gate), unrounded(up), maybe({}), false, 0.0), gate);
}

Tensor normed_swiglu(const Tensor& gate, const Tensor& up, const Tensor& gamma, double eps) {
  RECORD_FUNCTION("scalevec::normed_swiglu", std::vector<c10::IValue>{});
  if (device::takes(gate) && up.scalar_type() == gate.scalar_type()) return device::normed_swiglu(gate, up, gamma, eps);
  if (!takes_kernels(gate)) return composed::normed_swiglu(gate, up, gamma, eps);
  return like(SwiGlu::apply(unrounded(gate), unrounded(up), maybe(gamma), true, eps), gate);
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  RECORD_FUNCTION("scalevec::rotate", std::vector<c10::IValue>{});
  if (device::takes(x) && cos.scalar_type() == torch::kFloat32) return device::rotate(x, cos, sin);
  if (!takes_kernels(x)) return composed::rotate(x, cos, sin);
  return like(Rotate::apply(unrounded(x), cos, sin), x);
}

Tensor norm_rotate(const Tensor& x, const Tensor& gamma, const Tensor& cos, const Tensor& sin, bool per_head,
                   double eps) {
  RECORD_FUNCTION("scalevec::norm_rotate", std::vector<c10::IValue>{});
  if (device::takes(x) && cos.scalar_type() == torch::kFloat32)
    return device::norm_rotate(x, gamma, cos, sin, per_head, eps);
  if (!takes_kernels(x)) return composed::norm_rotate(x, gamma, cos, sin, per_head, eps);
  return like(NormRotate::apply(unrounded(x), maybe(gamma), cos, sin, per_head, eps), x);
}

}  // namespace scalevec::models::ops
