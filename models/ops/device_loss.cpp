#include <torch/csrc/autograd/variable.h>

#include "models/ops/device.hpp"
#include "models/ops/device_rows.hpp"
#include "models/ops/dispatch.hpp"

namespace scalevec::models::ops::device {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct DeviceCrossEntropy : torch::autograd::Function<DeviceCrossEntropy> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& given, bool overwrite) {
    const Tensor logits = input.contiguous(), target = given.contiguous();
    const std::int64_t n = logits.size(0), d = logits.size(1);
    const auto floating = logits.options().dtype(torch::kFloat32);
    Tensor lse = at::empty({n}, floating), rows = at::empty({n}, floating), loss = at::empty({}, floating);
    enqueue(logits, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.cross_entropy({logits.const_data_ptr(), type_of(logits), target.const_data_ptr<std::int64_t>(),
                              lse.data_ptr<float>(), rows.data_ptr<float>(), loss.data_ptr<float>(), n, d},
                             stream);
    });
    context->saved_data["overwrite"] = overwrite;
    context->save_for_backward({logits, target, lse});
    return loss;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &logits = saved[0], &target = saved[1], &lse = saved[2];
    const Tensor grad = grads[0].to(torch::kFloat32);
    Tensor dlogits = logits.detach();
    if (context->saved_data["overwrite"].toBool())
      torch::autograd::impl::bump_version(logits);  // a second backward pass then throws
    else
      dlogits = at::empty(logits.sizes(), logits.options());
    enqueue(logits, [&](const cuda::RowLaunches& launches, cuda::Stream stream) {
      launches.cross_entropy_backward(
          {logits.const_data_ptr(), type_of(logits), target.const_data_ptr<std::int64_t>(), lse.const_data_ptr<float>(),
           grad.const_data_ptr<float>(), dlogits.data_ptr(), logits.size(0), logits.size(1)},
          stream);
    });
    return {dlogits, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, bool overwrite) {
  return DeviceCrossEntropy::apply(logits, target, overwrite);
}

}  // namespace scalevec::models::ops::device
