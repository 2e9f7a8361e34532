#include "models/scaled_map.hpp"

#include <torch/types.h>

#include <optional>

#include "models/ops/fused.hpp"

namespace scalevec::models {
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

std::vector<Tensor> apply_folded(const std::vector<const ScaledMap*>& maps, const Tensor& x, const Tensor& columns,
                                 const ScaledMap* normed, double eps) {
  std::vector<ops::Scaled> scaled;
  for (const ScaledMap* map : maps) {
    Tensor row = product(map->rows, map->scalar);
    if (row.defined() && row.size(0) != map->weight.size(0)) row = row.expand({map->weight.size(0)}).contiguous();
    if (!map->norm) row = product(row, map->out.value());
    scaled.push_back({map->weight, row, product(product(columns, map->in.value()), map->columns), map->bias,
                      map == normed ? std::optional<double>(eps) : std::nullopt});
  }
  return ops::scaled_linear(x, scaled);
}

}  // namespace scalevec::models
