#include <ATen/record_function.h>

#include <string>

#include "models/ops/device.hpp"
#include "models/ops/fused.hpp"
#include "models/ops/kernel_rows.hpp"

namespace scalevec::models::ops {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct CrossEntropy : torch::autograd::Function<CrossEntropy> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& given) {
    const Tensor logits = input.contiguous(), target = given.contiguous();
    const std::int64_t n = logits.size(0), d = logits.size(1);
    const std::int64_t* ids = target.const_data_ptr<std::int64_t>();
    for (std::int64_t r = 0; r < n; ++r)
      if (ids[r] < 0 || ids[r] >= d)
        throw std::invalid_argument("cross_entropy: target " + std::to_string(ids[r]) + "; allowed: 0 to " +
                                    std::to_string(d - 1));
    Tensor lse = at::empty({n}, logits.options()), rows = at::empty({n}, logits.options()),
           loss = at::empty({}, logits.options());
    by_dtype(logits, [&](auto zero) {
      using T = decltype(zero);
      T* each = rows.data_ptr<T>();
      over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().cross_entropy(logits.const_data_ptr<T>(), ids, lse.data_ptr<T>(), each, d, begin, end);
      });
      double sum = 0.0;
      for (std::int64_t r = 0; r < n; ++r) sum += static_cast<double>(each[r]);
      *loss.data_ptr<T>() = static_cast<T>(sum / static_cast<double>(n));
    });
    context->save_for_backward({logits, target, lse});
    return loss;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &logits = saved[0], &target = saved[1], &lse = saved[2];
    const std::int64_t n = logits.size(0), d = logits.size(1);
    Tensor dlogits = at::empty(logits.sizes(), logits.options());
    by_dtype(logits, [&](auto zero) {
      using T = decltype(zero);
      const T scale = grads[0].item<T>() / static_cast<T>(n);
      over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().cross_entropy_backward(logits.const_data_ptr<T>(), target.const_data_ptr<std::int64_t>(),
                                                lse.const_data_ptr<T>(), scale, dlogits.data_ptr<T>(), d, begin, end);
      });
    });
    return {dlogits, Tensor()};
  }
};

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& target, bool overwrite) {
  if (logits.numel() == 0) return composed::cross_entropy(logits, target);
  RECORD_FUNCTION("scalevec::cross_entropy", std::vector<c10::IValue>{});
  if (device::takes(logits)) return device::cross_entropy(logits, target, overwrite);
  const Tensor x = unrounded(logits);
  return takes_kernels(x) ? CrossEntropy::apply(x, target) : composed::cross_entropy(x, target);
}

}  // namespace scalevec::models::ops
