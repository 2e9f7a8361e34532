#include "experiments/statistics/holm.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace scalevec::experiments {

std::vector<HolmResult> holm(std::span<const double> p, double alpha) {
  const size_t m = p.size();
  const auto value = [&](size_t i) { return std::isnan(p[i]) ? 1.0 : p[i]; };
  std::vector<size_t> order(m);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return value(a) < value(b); });
  std::vector<HolmResult> out(m);
  double running = 0.0, stopped_at = 0.0;
  for (size_t k = 0; k < m; ++k) {
    HolmResult& r = out[order[k]];
    const double left = static_cast<double>(m - k);
    running = std::max(running, std::min(1.0, left * value(order[k])));
    r.adjusted_p = running;
    r.level = stopped_at > 0.0 ? stopped_at : alpha / left;
    r.rejected = stopped_at == 0.0 && value(order[k]) <= r.level;
    if (!r.rejected && stopped_at == 0.0) stopped_at = r.level;
  }
  return out;
}

}  // namespace scalevec::experiments
