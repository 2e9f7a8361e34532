#include "experiments/distributed/partition.hpp"

#include <algorithm>
#include <numeric>

namespace scalevec::experiments {

double update_cost(const std::vector<std::int64_t>& shape, double flops) {
  double elements = 1.0;
  for (const std::int64_t n : shape) elements *= static_cast<double>(n);
  return elements == 0.0 ? 0.0 : 28.0 * elements + flops / kFlopsPerByte;
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

}  // namespace scalevec::experiments
