#include "models/ops/attention.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "models/kernels/attention_kernels.hpp"
#include "models/ops/fused.hpp"
#include "models/ops/kernel_rows.hpp"
#include "models/ops/query_block.hpp"
#include "optim/parallel/parallel.hpp"

namespace scalevec::models::ops {
namespace {

using kernels::attention_kernels;
using kernels::AttentionHead;
using kernels::HeadRows;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

Tensor with_dense_rows(const Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }

// Head h of batch b of [B, T, H, d].
template <class T>
HeadRows<const T> head_of(const Tensor& x, std::int64_t b, std::int64_t h) {
  return {x.const_data_ptr<T>() + b * x.stride(0) + h * x.stride(2), x.stride(1)};
}
template <class T>
HeadRows<T> mutable_head_of(Tensor& x, std::int64_t b, std::int64_t h) {
  return {x.data_ptr<T>() + b * x.stride(0) + h * x.stride(2), x.stride(1)};
}

struct Shape {
  std::int64_t batch, length, heads, dim, kv_heads;

  Shape(const Tensor& q, const Tensor& k)
      : batch(q.size(0)), length(q.size(1)), heads(q.size(2)), dim(q.size(3)), kv_heads(k.size(2)) {}
};

// body(batch, head, its key head, scratch): the heads that share keys one after the other.
template <class T, class Body>
void over_heads(const Shape& shape, const Body& body) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t size = attention_kernels<T>().scratch_size(shape.length, shape.dim);
  parallel_for(shape.batch * shape.kv_heads, [&](std::int64_t task) {
    thread_local std::vector<std::uint64_t> buffer;
    const std::size_t words = (static_cast<std::size_t>(size) * sizeof(T) + 64) / 8 + 1;
    if (buffer.size() < words) buffer.resize(words);
    T* scratch = reinterpret_cast<T*>((reinterpret_cast<std::uintptr_t>(buffer.data()) + 63) / 64 * 64);
    const std::int64_t b = task / shape.kv_heads, kv = task % shape.kv_heads;
    for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h) body(b, h, kv, scratch);
  });
}

struct Attention : torch::autograd::Function<Attention> {
  static Tensor forward(AutogradContext* context, const Tensor& q_in, const Tensor& k_in, const Tensor& v_in,
                        double scale, std::int64_t window, Tensor* max_logit) {
    const Tensor q = with_dense_rows(q_in), k = with_dense_rows(k_in), v = with_dense_rows(v_in);
    const Shape shape(q, k);
    Tensor out = at::empty(q.sizes(), q.options()),
           lse = at::empty({shape.batch, shape.heads, shape.length}, q.options()), most;
    if (max_logit) most = at::empty({shape.batch, shape.heads}, q.options());
    by_dtype(q, [&](auto zero) {
      using T = decltype(zero);
      T* row = lse.data_ptr<T>();
      T* top = max_logit ? most.data_ptr<T>() : nullptr;
      over_heads<T>(shape, [&](std::int64_t b, std::int64_t h, std::int64_t kv, T* scratch) {
        const AttentionHead<T> head{
            head_of<T>(q, b, h),  head_of<T>(k, b, kv), head_of<T>(v, b, kv), shape.length, shape.dim, window,
            static_cast<T>(scale)};
        attention_kernels<T>().forward(head, mutable_head_of<T>(out, b, h), row + (b * shape.heads + h) * shape.length,
                                       top ? top + b * shape.heads + h : nullptr, scratch);
      });
    });
    if (max_logit) *max_logit = most.amax(0);
    context->save_for_backward({q, k, v, out, lse});
    context->saved_data["scale"] = scale;
    context->saved_data["window"] = window;
    return out;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &lse = saved[4];
    const Tensor grad = with_dense_rows(grads[0]);
    const double scale = context->saved_data["scale"].toDouble();
    const std::int64_t window = context->saved_data["window"].toInt();
    const Shape shape(q, k);
    Tensor dq = at::empty(q.sizes(), q.options()), dk = at::zeros(k.sizes(), k.options()),
           dv = at::zeros(v.sizes(), v.options());
    by_dtype(q, [&](auto zero) {
      using T = decltype(zero);
      const T* row = lse.const_data_ptr<T>();
      over_heads<T>(shape, [&](std::int64_t b, std::int64_t h, std::int64_t kv, T* scratch) {
        const AttentionHead<T> head{
            head_of<T>(q, b, h),  head_of<T>(k, b, kv), head_of<T>(v, b, kv), shape.length, shape.dim, window,
            static_cast<T>(scale)};
        attention_kernels<T>().backward(head, head_of<T>(out, b, h), head_of<T>(grad, b, h),
                                        row + (b * shape.heads + h) * shape.length, mutable_head_of<T>(dq, b, h),
                                        mutable_head_of<T>(dk, b, kv), mutable_head_of<T>(dv, b, kv), scratch);
      });
    });
    return {dq, dk, dv, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, std::int64_t window,
                 Tensor* max_logit) {
  RECORD_FUNCTION("scalevec::attention", std::vector<c10::IValue>{});
  if (!takes_kernels(q) || q.size(3) % kernels::kAttentionDim != 0 || q.numel() == 0) {
    if (max_logit) *max_logit = composed::max_logit(q, k, scale, window);
    return composed::attention(q, k, v, scale, window);
  }
  return Attention::apply(unrounded(q), unrounded(k), unrounded(v), scale, window, max_logit).to(q.scalar_type());
}

namespace composed {
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, std::int64_t window) {
  const std::int64_t length = q.size(1), group = q.size(2) / k.size(2);
  const bool windowed = window > 0 && window < length;
  // On CUDA only the flash kernel takes grouped queries, in 16 bits and without a mask; LibTorch's way out would hold
  // the scores [B, H, T, T].
  const auto device = q.device().type();
  const bool flash = !windowed && (is_reduced(q.scalar_type()) || (at::autocast::is_autocast_available(device) &&
                                                                   at::autocast::is_autocast_enabled(device)));
  const bool repeats = group > 1 && !q.is_cpu() && !flash;
  const auto heads = [&](const Tensor& x) {
    if (!repeats) return x.transpose(1, 2);
    return x.unsqueeze(3).expand({-1, -1, -1, group, -1}).flatten(2, 3).transpose(1, 2);
  };
  return at::scaled_dot_product_attention(
             q.transpose(1, 2), heads(k), heads(v),
             windowed ? std::optional<Tensor>(QueryBlock(0, length, window, q.options(), length).hidden.logical_not())
                      : std::nullopt,
             /*dropout_p=*/0.0,
             /*is_causal=*/!windowed, scale, /*enable_gqa=*/group > 1 && !repeats)
      .transpose(1, 2)
      .contiguous();
}

Tensor max_logit(const Tensor& q, const Tensor& k, double scale, std::int64_t window) {
  const torch::NoGradGuard no_grad;
  const auto type = q.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  const std::int64_t length = q.size(1), kv_heads = k.size(2), group = q.size(2) / kv_heads;
  Tensor out = torch::full({q.size(2)}, -INFINITY, q.options().dtype(type).requires_grad(false));
  if (q.numel() == 0) return out;
  const Tensor keys = k.to(type).permute({0, 2, 3, 1}).unsqueeze(2);  // [B, H_kv, 1, d, T]
  const Tensor queries = q.to(type).transpose(1, 2).unflatten(1, {kv_heads, group});
  for (std::int64_t begin = 0; begin < length; begin += QueryBlock::kQueries) {
    const QueryBlock block(begin, length, window, q.options());
    const Tensor scores =
        at::matmul(queries.narrow(3, begin, block.size), keys.narrow(4, block.from, block.columns)) * scale;
    out = at::maximum(out, scores.masked_fill(block.hidden, -INFINITY).amax({0, 3, 4}).flatten());
  }
  return out;
}

}  // namespace composed

}  // namespace scalevec::models::ops
