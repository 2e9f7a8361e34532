#include "scalevec/experiments/distributed/partition.hpp"

#include <algorithm>
#include <numeric>

namespace scalevec {

double update_cost(std::string_view method, const std::vector<std::int64_t>& shape, std::int64_t row_blocks,
                   std::int64_t steps) {
  double elements = 1.0;
  for (const std::int64_t n : shape) elements *= static_cast<double>(n);
  double cost = 28.0 * elements;
  if (shape.size() != 2 || elements == 0.0) return cost;
  const double rows = static_cast<double>(shape[0]) / static_cast<double>(row_blocks),
               cols = static_cast<double>(shape[1]);
  const double small = std::min(rows, cols), large = std::max(rows, cols);
  double flops = 0.0;
  // A Newton-Schulz step: half of XXᵀ and of its square, and one full product (optim/matrix/orthogonalise.cpp).
  if (method == "muon" || method == "normuon")
    flops = static_cast<double>(row_blocks * steps) * (3.0 * small * small * large + small * small * small);
  // SOAP: two preconditioners, and the rotations of gradient, momentum and update on both sides.
  if (method == "soap") flops = 2.0 * (rows * rows * cols + rows * cols * cols) * 4.0;
  return cost + flops / kFlopsPerByte;
}

std::vector<int> partition_by_cost(const std::vector<double>& costs, int ranks) {
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return costs[a] > costs[b]; });
  std::vector<double> load(static_cast<size_t>(ranks), 0.0);
  std::vector<int> owner(costs.size(), 0);
  for (const size_t i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    owner[i] = static_cast<int>(least - load.begin());
    *least += costs[i];
  }
  return owner;
}

}  // namespace scalevec
