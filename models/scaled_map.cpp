#include "scalevec/models/scaled_map.hpp"

#include <torch/torch.h>

#include <optional>

namespace scalevec {
namespace {

using torch::Tensor;

Tensor times(const Tensor& a, const Tensor& b) { return b.defined() ? a * b : a; }
Tensor product(const Tensor& a, const Tensor& b) { return a.defined() ? times(a, b) : b; }

}  // namespace

Tensor apply_naive(const ScaledMap& map, const Tensor& x, const Norm& norm) {
  Tensor y = times(times(x, map.in.value()), map.columns);
  y = times(times(at::linear(y, map.weight), map.rows), map.scalar);
  if (!map.norm) y = times(y, map.out.value());
  if (map.bias.defined()) y = y + map.bias;
  return map.norm ? norm(y, map.out.value()) : y;
}

Tensor folded_weight(const ScaledMap& map, const Tensor& columns) {
  const Tensor column = product(product(columns, map.in.value()), map.columns);
  Tensor row = product(map.rows, map.scalar);
  if (!map.norm) row = product(row, map.out.value());
  Tensor weight = times(map.weight, column);
  return row.defined() ? weight * row.unsqueeze(-1) : weight;
}

std::vector<Tensor> apply_folded(const std::vector<const ScaledMap*>& maps, const Tensor& x, const Tensor& columns,
                                 const Norm& norm) {
  std::vector<Tensor> weights, biases;
  std::vector<std::int64_t> sizes;
  bool any_bias = false;
  for (const ScaledMap* map : maps) {
    weights.push_back(folded_weight(*map, columns));
    sizes.push_back(map->weight.size(0));
    biases.push_back(map->bias.defined() ? map->bias : torch::zeros({sizes.back()}, map->weight.options()));
    any_bias = any_bias || map->bias.defined();
  }
  const auto bias = any_bias ? std::optional<Tensor>(at::cat(biases)) : std::nullopt;
  const Tensor stacked = at::linear(x, maps.size() == 1 ? weights[0] : at::cat(weights), bias);
  // The backward of a split is one concatenation; that of slices would fill zeros per slice.
  std::vector<Tensor> out = maps.size() == 1 ? std::vector<Tensor>{stacked} : at::split_with_sizes(stacked, sizes, -1);
  for (size_t i = 0; i < maps.size(); ++i)
    if (maps[i]->norm) out[i] = norm(out[i], maps[i]->out_moves_on ? Tensor() : maps[i]->out.value());
  return out;
}

}  // namespace scalevec
