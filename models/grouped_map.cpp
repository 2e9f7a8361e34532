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

bool groups(const Tensor& x, torch::ScalarType products, std::initializer_list<std::int64_t> widths) {
  const auto bytes = static_cast<std::int64_t>(c10::elementSize(products));
  return ops::device::takes(x) &&
         std::all_of(widths.begin(), widths.end(), [&](std::int64_t width) { return width * bytes % 16 == 0; }) &&
         (!x.is_cuda() || (products == torch::kBFloat16 && ops::device::compute_capability(x) >= 90));
}

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
  Tensor y = at::_grouped_mm(x.to(type), weight.to(type).transpose(-1, -2), a.ends);
  if (const Tensor bias = stacked(maps, [](const ScaledMap& m) { return m.bias; }); bias.defined())
    y = y + bias.index({a.expert});
  if (!maps.front()->norm) return y;
  y = norm(y);
  return out.defined() ? y * out.index({a.expert}) : y;
}

}  // namespace scalevec::models
