#include "optim/matrix/products.hpp"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "optim/parallel/parallel.hpp"

namespace scalevec::kernels {
namespace {

using torch::Tensor;

// Large enough to run at a product's full rate, small enough for several threads to share a matrix of 1024.
constexpr std::int64_t kTile = 256;

}  // namespace

void for_row_strips(std::int64_t rows, const std::function<void(std::int64_t, std::int64_t)>& body) {
  run_tasks((rows + kTile - 1) / kTile, [&](std::int64_t k) { body(k * kTile, std::min(kTile, rows - k * kTile)); });
}

namespace {

// out = beta·base + alpha·A·B, which is symmetric.
void symmetric_tiles(Tensor& out, const Tensor& a, const Tensor& b, double alpha, const Tensor& base, double beta) {
  const std::int64_t m = a.size(0), strips = (m + kTile - 1) / kTile;
  std::vector<std::pair<std::int64_t, std::int64_t>> tiles;
  for (std::int64_t i = 0; i < strips; ++i)
    for (std::int64_t j = i; j < strips; ++j) tiles.emplace_back(i * kTile, j * kTile);
  run_tasks(static_cast<std::int64_t>(tiles.size()), [&](std::int64_t k) {
    const auto [i, j] = tiles[static_cast<size_t>(k)];
    const std::int64_t rows = std::min(kTile, m - i), columns = std::min(kTile, m - j);
    const Tensor left = a.narrow(0, i, rows), right = b.narrow(1, j, columns);
    Tensor tile = at::empty({rows, columns}, a.options());
    if (base.defined())
      at::addmm_out(tile, base.narrow(0, i, rows).narrow(1, j, columns), left, right, beta, alpha);
    else
      at::mm_out(tile, left, right);
    if (!base.defined() && alpha != 1.0) tile.mul_(alpha);
    out.narrow(0, i, rows).narrow(1, j, columns).copy_(tile);
    if (i != j) out.narrow(0, j, columns).narrow(1, i, rows).copy_(tile.t());
  });
}

}  // namespace

void symmetric_product(Tensor& out, const Tensor& a, double alpha, const Tensor& base, double beta) {
  symmetric_tiles(out, a, a.t(), alpha, base, beta);
}

void commuting_product(Tensor& out, const Tensor& a, const Tensor& b) { symmetric_tiles(out, a, b, 1.0, {}, 0.0); }

void product(Tensor& out, const Tensor& a, const Tensor& b, const Tensor& base, double beta) {
  if (!out.is_contiguous()) {
    Tensor transposed = out.t();
    return product(transposed, b.t(), a.t(), base.defined() ? base.t() : base, beta);
  }
  for_row_strips(out.size(0), [&](std::int64_t begin, std::int64_t rows) {
    Tensor strip = out.narrow(0, begin, rows);
    const Tensor left = a.narrow(0, begin, rows);
    if (base.defined())
      at::addmm_out(strip, base.narrow(0, begin, rows), left, b, beta, 1.0);
    else
      at::mm_out(strip, left, b);
  });
}

}  // namespace scalevec::kernels
