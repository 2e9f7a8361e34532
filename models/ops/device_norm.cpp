#include "models/ops/device.hpp"
#include "models/ops/device_rows.hpp"
#include "models/ops/dispatch.hpp"

namespace scalevec::models::ops::device {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// Of x, or of x + added, which it then returns too: {y} or {y, sum}. The sum has x's type.
struct DeviceRmsNorm : torch::autograd::Function<DeviceRmsNorm> {
  static tensor_list forward(AutogradContext* context, const Tensor& input, const Maybe& added,
                             const Maybe& maybe_gamma, double eps, std::int64_t out) {
    const Tensor x = with_equal_rows(input), add = added ? with_equal_rows(*added) : Tensor(),
                 gamma = scale_of(maybe_gamma);
    const std::int64_t n = row_count(x), d = x.size(-1);
    Tensor y = at::empty(x.sizes(), x.options().dtype(static_cast<torch::ScalarType>(out))),
           rstd = at::empty({n}, x.options().dtype(torch::kFloat32)),
           sum = add.defined() ? at::empty(x.sizes(), x.options()) : Tensor();
    enqueue(x, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.norm({rows_in(x), rows_in(add), data_or_null<float>(gamma), rows_out(sum), rows_out(y),
                     rstd.data_ptr<float>(), static_cast<float>(eps), n, d},
                    stream);
    });
    context->set_materialize_grads(false);
    context->saved_data["added"] = add.defined();
    context->saved_data["type"] = static_cast<std::int64_t>(x.scalar_type());
    context->saved_data["rounds"] = add.defined() && add.scalar_type() != x.scalar_type();
    context->saved_data["gamma_type"] = type_or_float(maybe_gamma);
    context->save_for_backward({!gamma.defined() ? y : add.defined() ? sum : x, rstd, gamma});
    return add.defined() ? tensor_list{y, sum} : tensor_list{y};
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const bool added = context->saved_data["added"].toBool();
    // Of a sum that nothing else reads.
    const Tensor more = added && grads[1].defined() ? with_equal_rows(grads[1]) : Tensor();
    if (!grads[0].defined()) return {more, added ? more : Tensor(), Tensor(), Tensor(), Tensor()};
    const auto saved = context->get_saved_variables();
    const Tensor grad = with_equal_rows(grads[0]);
    const Tensor &at = saved[0], &rstd = saved[1], &gamma = saved[2];
    const auto type = static_cast<torch::ScalarType>(context->saved_data["type"].toInt());
    const std::int64_t n = row_count(at), d = at.size(-1);
    Tensor dx = at::empty(at.sizes(), at.options().dtype(type)), dgamma, parts, rounded;
    if (context->saved_data["rounds"].toBool()) rounded = at::empty(at.sizes(), at.options().dtype(torch::kBFloat16));
    if (gamma.defined()) {
      dgamma = at::empty({d}, rstd.options());
      parts = scratch(at, n, d);
    }
    enqueue(at, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.norm_backward(
          {rows_in(grad), rows_in(at), rows_in(more), data_or_null<float>(gamma), rstd.const_data_ptr<float>(),
           rows_out(dx), rounded.defined() ? static_cast<cuda::Bf16*>(rounded.data_ptr()) : nullptr, floats(parts),
           floats(dgamma), n, d},
          stream);
    });
    if (dgamma.defined()) dgamma = dgamma.to(static_cast<torch::ScalarType>(context->saved_data["gamma_type"].toInt()));
    return {dx, !added ? Tensor() : rounded.defined() ? rounded : dx, dgamma, Tensor(), Tensor()};
  }
};

struct DeviceRadial : torch::autograd::Function<DeviceRadial> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& magnitude, bool exponential) {
    const Tensor alpha = input.contiguous();
    Tensor gamma = at::empty(alpha.sizes(), alpha.options());
    enqueue(alpha, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.radial({alpha.const_data_ptr<float>(), magnitude.const_data_ptr<float>(), exponential,
                       gamma.data_ptr<float>(), alpha.numel()},
                      stream);
    });
    context->saved_data["exponential"] = exponential;
    context->save_for_backward({alpha, magnitude});
    return gamma;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &alpha = saved[0], &magnitude = saved[1];
    const Tensor grad = grads[0].contiguous();
    Tensor dalpha = at::empty(alpha.sizes(), alpha.options()), dmagnitude = at::empty({1}, alpha.options());
    enqueue(alpha, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.radial_backward({grad.const_data_ptr<float>(), alpha.const_data_ptr<float>(),
                                magnitude.const_data_ptr<float>(), context->saved_data["exponential"].toBool(),
                                dalpha.data_ptr<float>(), dmagnitude.data_ptr<float>(), alpha.numel()},
                               stream);
    });
    return {dalpha, dmagnitude, Tensor()};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& gamma, double eps, torch::ScalarType out) {
  return DeviceRmsNorm::apply(x, Maybe(), maybe(gamma), eps, static_cast<std::int64_t>(out))[0];
}

std::pair<Tensor, Tensor> rms_norm_of_sum(const Tensor& x, const Tensor& added, const Tensor& gamma, double eps,
                                          torch::ScalarType out) {
  // The sum has the first summand's type.
  const bool swap = x.scalar_type() == torch::kBFloat16 && added.scalar_type() == torch::kFloat32;
  const tensor_list both = DeviceRmsNorm::apply(swap ? added : x, maybe(swap ? x : added), maybe(gamma), eps,
                                                static_cast<std::int64_t>(out));
  return {both[1], both[0]};
}

Tensor radial(const Tensor& alpha, const Tensor& magnitude, bool exponential) {
  return DeviceRadial::apply(alpha, magnitude, exponential);
}

Tensor norm_in_place(Tensor& y, double eps) {
  Tensor rstd = at::empty({row_count(y)}, y.options().dtype(torch::kFloat32));
  enqueue(y, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
    launches.norm({rows_in(y),
                   {},
                   nullptr,
                   {},
                   rows_out(y),
                   rstd.data_ptr<float>(),
                   static_cast<float>(eps),
                   row_count(y),
                   y.size(-1)},
                  stream);
  });
  return rstd;
}

Tensor norm_in_place_backward(const Tensor& output_grad, const Tensor& y, const Tensor& rstd) {
  const Tensor grad = with_equal_rows(output_grad);
  Tensor dx = at::empty(grad.sizes(), grad.options());
  enqueue(y, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
    launches.norm_backward({rows_in(grad),
                            rows_in(y),
                            {},
                            nullptr,
                            rstd.const_data_ptr<float>(),
                            rows_out(dx),
                            nullptr,
                            nullptr,
                            nullptr,
                            row_count(y),
                            y.size(-1)},
                           stream);
  });
  return dx;
}

}  // namespace scalevec::models::ops::device
