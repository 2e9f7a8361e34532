#include "models/ops/device.hpp"
#include "models/ops/device_rows.hpp"
#include "models/ops/dispatch.hpp"

namespace scalevec::models::ops::device {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct DeviceSwiGlu : torch::autograd::Function<DeviceSwiGlu> {
  // `normed` as in normed_swiglu().
  static Tensor forward(AutogradContext* context, const Tensor& first, const Tensor& second, const Maybe& maybe_gamma,
                        bool normed, double eps) {
    const Tensor gate = with_equal_rows(first), up = with_equal_rows(second), gamma = scale_of(maybe_gamma);
    const std::int64_t n = row_count(gate), d = gate.size(-1);
    Tensor y = at::empty(gate.sizes(), gate.options()),
           rstd = normed ? at::empty({n, 2}, gate.options().dtype(torch::kFloat32)) : Tensor();
    enqueue(gate, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.swiglu({rows_in(gate), rows_in(up), data_or_null<float>(gamma), y.data_ptr(), floats(rstd),
                       static_cast<float>(eps), n, d},
                      stream);
    });
    context->saved_data["gamma_type"] = type_or_float(maybe_gamma);
    context->save_for_backward({gate, up, gamma, rstd});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &gate = saved[0], &up = saved[1], &gamma = saved[2], &rstd = saved[3];
    const Tensor grad = with_equal_rows(grads[0]);
    const std::int64_t n = row_count(gate), d = gate.size(-1);
    Tensor dgate = at::empty(gate.sizes(), gate.options()), dup = at::empty(up.sizes(), up.options()), dgamma, parts;
    if (gamma.defined()) {
      dgamma = at::empty({d}, rstd.options());
      parts = scratch(gate, n, d);
    }
    enqueue(gate, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.swiglu_backward(
          {rows_in(grad), rows_in(gate), rows_in(up), data_or_null<float>(gamma), data_or_null<float>(rstd),
           dgate.data_ptr(), dup.data_ptr(), floats(parts), floats(dgamma), n, d},
          stream);
    });
    if (dgamma.defined()) dgamma = dgamma.to(static_cast<torch::ScalarType>(context->saved_data["gamma_type"].toInt()));
    return {dgate, dup, dgamma, Tensor(), Tensor()};
  }
};

struct DeviceRotate : torch::autograd::Function<DeviceRotate> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& cos, const Tensor& sin) {
    context->save_for_backward({cos, sin});
    return run(x, cos, sin, 1.0f);
  }

  static Tensor run(const Tensor& input, const Tensor& cos, const Tensor& sin, float sign) {
    const Tensor x = input.contiguous();
    Tensor y = at::empty(x.sizes(), x.options());
    enqueue(x, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.rotate(
          {x.const_data_ptr(), type_of(x), nullptr, cos.const_data_ptr<float>(), sin.const_data_ptr<float>(), sign,
           0.0f, y.data_ptr(), nullptr, row_count(x), 1, x.size(3), x.size(1), x.size(2)},
          stream);
    });
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    return {run(grads[0], saved[0], saved[1], -1.0f), Tensor(), Tensor()};
  }
};

struct DeviceNormRotate : torch::autograd::Function<DeviceNormRotate> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Maybe& maybe_gamma, const Tensor& cos,
                        const Tensor& sin, bool per_head, double eps) {
    const Tensor x = input.contiguous(), gamma = scale_of(maybe_gamma);
    const NormRows s(x, per_head);
    Tensor y = at::empty(x.sizes(), x.options()), rstd = at::empty({s.rows}, x.options().dtype(torch::kFloat32));
    enqueue(x, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.rotate({x.const_data_ptr(), type_of(x), data_or_null<float>(gamma), cos.const_data_ptr<float>(),
                       sin.const_data_ptr<float>(), 1.0f, static_cast<float>(eps), y.data_ptr(), rstd.data_ptr<float>(),
                       s.rows, s.together, s.d, s.length, s.rows_per_token},
                      stream);
    });
    context->saved_data["per_head"] = per_head;
    context->saved_data["gamma_type"] = type_or_float(maybe_gamma);
    context->save_for_backward({x, gamma, rstd, cos, sin});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &gamma = saved[1], &rstd = saved[2], &cos = saved[3], &sin = saved[4];
    const NormRows s(x, context->saved_data["per_head"].toBool());
    const Tensor grad = grads[0].contiguous();
    Tensor dx = at::empty(x.sizes(), x.options()), dgamma, parts;
    if (gamma.defined()) {
      dgamma = at::empty({s.together * s.d}, rstd.options());
      parts = scratch(x, s.rows, s.together * s.d);
    }
    enqueue(x, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.rotate_backward(
          {grad.const_data_ptr(), x.const_data_ptr(), type_of(x), data_or_null<float>(gamma),
           rstd.const_data_ptr<float>(), cos.const_data_ptr<float>(), sin.const_data_ptr<float>(), dx.data_ptr(),
           floats(parts), floats(dgamma), s.rows, s.together, s.d, s.length, s.rows_per_token},
          stream);
    });
    if (dgamma.defined()) dgamma = dgamma.to(static_cast<torch::ScalarType>(context->saved_data["gamma_type"].toInt()));
    return {dx, dgamma, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) { return DeviceSwiGlu::apply(gate, up, Maybe(), false, 0.0); }

Tensor normed_swiglu(const Tensor& gate, const Tensor& up, const Tensor& gamma, double eps) {
  return DeviceSwiGlu::apply(gate, up, maybe(gamma), true, eps);
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) { return DeviceRotate::apply(x, cos, sin); }

Tensor norm_rotate(const Tensor& x, const Tensor& gamma, const Tensor& cos, const Tensor& sin, bool per_head,
                   double eps) {
  return DeviceNormRotate::apply(x, maybe(gamma), cos, sin, per_head, eps);
}

}  // namespace scalevec::models::ops::device
