#include <ATen/OpMathType.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <cstdint>

#include "models/ops/attention.hpp"
#include "models/ops/device.hpp"
#include "models/ops/dispatch.hpp"
#include "models/ops/query_block.hpp"

namespace scalevec::models::ops {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// With what its queries are multiplied by, of heads that share keys: rows are the block's queries of each query head.
struct Block : QueryBlock {
  Tensor q, k, v;  // [B, H_kv, rows, d], [B, H_kv, columns, d]

  // [B, T, H, d] as [B, H_kv, rows, d], and back.
  static Tensor rows_of(const Tensor& x, std::int64_t begin, std::int64_t size, std::int64_t kv_heads) {
    return x.narrow(1, begin, size).unflatten(2, {kv_heads, -1}).permute({0, 2, 3, 1, 4}).flatten(2, 3);
  }
  Tensor in_place(const Tensor& rows) const {
    return rows.unflatten(2, {-1, size}).permute({0, 3, 1, 2, 4}).flatten(2, 3);
  }

  Block(const Tensor& all_q, const Tensor& all_k, const Tensor& all_v, std::int64_t first, std::int64_t window)
      : QueryBlock(first, all_q.size(1), window, all_q.options()),
        q(rows_of(all_q, begin, size, all_k.size(2))),
        k(all_k.narrow(1, from, columns).transpose(1, 2)),
        v(all_v.narrow(1, from, columns).transpose(1, 2)) {}

  // tanh(scale·q kᵀ/cap), in `type`.
  Tensor bounded(double scale, double cap, torch::ScalarType type) const {
    return at::matmul(q, k.transpose(-1, -2)).to(type).mul_(scale / cap).tanh_();
  }
  Tensor weights(const Tensor& bounded, double cap) const {
    const Tensor scores = bounded.mul(cap).unflatten(2, {-1, size});
    return at::softmax(scores.masked_fill(hidden, -INFINITY), -1).flatten(2, 3);
  }
};

struct CappedAttention : torch::autograd::Function<CappedAttention> {
  static Tensor forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                        double cap, std::int64_t window) {
    const torch::ScalarType exact = at::toOpMathType(q.scalar_type());
    Tensor out = at::empty(q.sizes(), q.options());
    for (std::int64_t begin = 0; begin < q.size(1); begin += Block::kQueries) {
      const Block block(q, k, v, begin, window);
      const Tensor weights = block.weights(block.bounded(scale, cap, exact), cap);
      out.narrow(1, begin, block.size).copy_(block.in_place(at::matmul(weights.to(q.scalar_type()), block.v)));
    }
    context->save_for_backward({q, k, v, out});
    context->saved_data["scale"] = scale;
    context->saved_data["cap"] = cap;
    context->saved_data["window"] = window;
    return out;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward("");
    const auto saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &grad = grads[0];
    const double scale = context->saved_data["scale"].toDouble(), cap = context->saved_data["cap"].toDouble();
    const std::int64_t window = context->saved_data["window"].toInt();
    const torch::ScalarType type = q.scalar_type(), exact = at::toOpMathType(type);
    Tensor dq = at::empty(q.sizes(), q.options()), dk = at::zeros(k.sizes(), k.options().dtype(exact)),
           dv = at::zeros(v.sizes(), v.options().dtype(exact));
    for (std::int64_t begin = 0; begin < q.size(1); begin += Block::kQueries) {
      const Block block(q, k, v, begin, window);
      const Tensor bounded = block.bounded(scale, cap, exact), weights = block.weights(bounded, cap);
      const Tensor output_grad = Block::rows_of(grad, begin, block.size, k.size(2)),
                   output = Block::rows_of(out, begin, block.size, k.size(2));
      const Tensor along = (output_grad.to(exact) * output.to(exact)).sum(-1, true);
      const Tensor of_weights = at::matmul(output_grad, block.v.transpose(-1, -2)).to(exact).sub_(along).mul_(weights);
      const Tensor slopes = of_weights.mul_(bounded.square_().neg_().add_(1.0)).mul_(scale).to(type);
      dq.narrow(1, begin, block.size).copy_(block.in_place(at::matmul(slopes, block.k)));
      dk.narrow(1, block.from, block.columns).add_(at::matmul(slopes.transpose(-1, -2), block.q).transpose(1, 2));
      dv.narrow(1, block.from, block.columns)
          .add_(at::matmul(weights.to(type).transpose(-1, -2), output_grad).transpose(1, 2));
    }
    return {dq, dk.to(type), dv.to(type), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor capped_attention(const Tensor& q, const Tensor& k, const Tensor& v, double scale, double cap,
                        std::int64_t window) {
  const torch::ScalarType product = q.scalar_type() == torch::kFloat64 ? torch::kFloat64 : device::product_type(q);
  return CappedAttention::apply(q.to(product), k.to(product), v.to(product), scale, cap, window);
}

}  // namespace scalevec::models::ops
