#include "models/grouped_map.hpp"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>

#include "models/ops/device.hpp"

namespace scalevec::models {
namespace {

using torch::Tensor;

// A part of every map as one tensor [experts, …]; undefined if the maps have none.
template <class Part>
Tensor stacked(const std::vector<const ScaledMap*>& maps, Part part) {
  std::vector<Tensor> parts;
  for (const ScaledMap* map : maps) {
    const Tensor p = part(*map);
    if (!p.defined()) return {};
    parts.push_back(p);
  }
  return at::stack(parts);
}

struct Permute : torch::autograd::Function<Permute> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& order,
                        const Tensor& inverse) {
    context->save_for_backward({inverse});
    return x.index({order});
  }
  static std::vector<Tensor> backward(torch::autograd::AutogradContext* context, std::vector<Tensor> grads) {
    return {grads[0].index({context->get_saved_variables()[0]}), Tensor(), Tensor()};
  }
};

}  // namespace

Assignments sorted_by_expert(const Tensor& experts, std::int64_t count) {
  Assignments a;
  const auto [expert, order] = experts.flatten().sort(/*stable=*/true, 0, /*descending=*/false);
  a.expert = expert;
  a.order = order;
  a.inverse = at::empty_like(order).scatter_(0, order, at::arange(order.size(0), order.options()));
  a.ends = expert.unsqueeze(0).le(at::arange(count, expert.options()).unsqueeze(1)).sum(1).to(torch::kInt32);
  return a;
}

namespace {

// Whether LibTorch's grouped product takes these widths and needs no value: in bfloat16 on a GPU of compute capability
// 9.x or 10.x. Elsewhere it copies `ends` to the host.
bool has_grouped_product(const Tensor& x, torch::ScalarType type, std::int64_t in, std::int64_t out) {
  if (type != torch::kBFloat16 || in % 8 != 0 || out % 8 != 0) return false;
  const int major = x.is_cuda() ? ops::device::compute_capability(x) / 10 : 9;
  return major == 9 || major == 10;
}

// The rows of each expert in blocks of one length, the last of which is filled up with zeros, so that a product of
// batches with one weight per block takes them. How many blocks there may be follows from the shapes.
struct Blocks {
  std::int64_t length, count;
  Tensor place;   // [rows] int64: where each row is among count·length
  Tensor expert;  // [count] int64: whose rows a block has; of blocks without any, the last expert

  // A quarter as long as an expert has rows on average, if that is not below 16: a quarter more rows than there are,
  // and five copies of a weight on average.
  Blocks(const Assignments& a, std::int64_t experts)
      : length(std::max<std::int64_t>(16, (a.expert.size(0) / (4 * experts) + 15) / 16 * 16)),
        count((a.expert.size(0) + experts * (length - 1)) / length) {
    const Tensor ends = a.ends.to(torch::kInt64), begins = at::constant_pad_nd(ends, {1, -1});
    const Tensor blocks = (ends - begins + (length - 1)).div(length, "floor"), block_ends = blocks.cumsum(0);
    place = at::arange(a.expert.size(0), a.expert.options()) +
            ((block_ends - blocks) * length - begins).index_select(0, a.expert);
    expert = block_ends.unsqueeze(1).le(at::arange(count, ends.options())).sum(0).clamp_max(experts - 1);
  }
  Tensor filled(const Tensor& rows) const {
    return at::zeros({count * length, rows.size(1)}, rows.options())
        .index_copy_(0, place, rows)
        .view({count, length, rows.size(1)});
  }
  Tensor rows_of(const Tensor& filled) const { return filled.flatten(0, 1).index_select(0, place); }
};

// y [rows, out]: row i of x [rows, in] times weight[expert of i], of [experts, in, out].
struct BlockProduct : torch::autograd::Function<BlockProduct> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const Assignments& a) {
    const Blocks blocks(a, weight.size(0));
    context->save_for_backward({x, weight, a.expert, a.ends});
    return blocks.rows_of(at::bmm(blocks.filled(x), weight.index_select(0, blocks.expert)));
  }
  static std::vector<Tensor> backward(torch::autograd::AutogradContext* context, std::vector<Tensor> grads) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    const Blocks blocks({{}, {}, saved[2], saved[3]}, weight.size(0));
    const Tensor grad = blocks.filled(grads[0]);
    const Tensor dx = blocks.rows_of(at::bmm(grad, weight.index_select(0, blocks.expert).transpose(1, 2)));
    // A product with zeros and ones, whose sums have a fixed order. An infinity of one expert makes every one's NaN.
    const Tensor parts = at::bmm(blocks.filled(x).transpose(1, 2), grad);
    const Tensor whose =
        blocks.expert.eq(at::arange(weight.size(0), blocks.expert.options()).unsqueeze(1)).to(parts.scalar_type());
    return {dx, at::mm(whose, parts.flatten(1)).view(weight.sizes()), Tensor()};
  }
};

}  // namespace

Tensor permuted(const Tensor& x, const Tensor& order, const Tensor& inverse) {
  return Permute::apply(x, order, inverse);
}

Tensor apply_grouped(const std::vector<const ScaledMap*>& maps, const Tensor& x, const Assignments& a,
                     const Tensor& columns, const Norm& norm) {
  const auto out = stacked(maps, [](const ScaledMap& m) { return m.out.value(); });
  Tensor weight = stacked(maps, [](const ScaledMap& m) { return m.weight; });  // [experts, out, in]
  const auto by_column = [&](const Tensor& c) {
    if (c.defined()) weight = weight * c.unsqueeze(-2);
  };
  const auto by_row = [&](const Tensor& r) {
    if (r.defined()) weight = weight * r.unsqueeze(-1);
  };
  by_column(columns);
  by_column(stacked(maps, [](const ScaledMap& m) { return m.in.value(); }));
  by_column(stacked(maps, [](const ScaledMap& m) { return m.columns; }));
  by_row(stacked(maps, [](const ScaledMap& m) { return m.rows; }));
  by_row(stacked(maps, [](const ScaledMap& m) { return m.scalar; }));
  if (!maps.front()->norm) by_row(out);
  const torch::ScalarType type = ops::device::product_type(x);
  const Tensor rows = x.to(type), maps_in = weight.to(type).transpose(-1, -2);
  Tensor y = has_grouped_product(x, type, maps_in.size(1), maps_in.size(2)) ? at::_grouped_mm(rows, maps_in, a.ends)
                                                                            : BlockProduct::apply(rows, maps_in, a);
  if (const Tensor bias = stacked(maps, [](const ScaledMap& m) { return m.bias; }); bias.defined())
    y = y + bias.index({a.expert});
  if (!maps.front()->norm) return y;
  y = norm(y);
  return out.defined() ? y * out.index({a.expert}) : y;
}

}  // namespace scalevec::models
