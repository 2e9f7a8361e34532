#include "experiments/scales/scale_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "models/trace_row.hpp"

namespace scalevec::experiments {
namespace {

constexpr double kQuantiles[] = {0.05, 0.25, 0.5, 0.75, 0.95};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return sorted_quantile(values, 0.5);
}

double spread_of(const std::vector<double>& lengths) {
  const double middle = median(lengths), most = *std::max_element(lengths.begin(), lengths.end());
  return middle > 0.0 ? most / middle : std::nan("");
}

}  // namespace

double sorted_quantile(const std::vector<double>& sorted, double p) {
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

GammaStatistics gamma_statistics(const std::vector<double>& gamma) {
  const double d = static_cast<double>(gamma.size());
  GammaStatistics s;
  s.least = s.greatest = gamma.at(0);
  std::vector<double> sizes;
  double squares = 0.0, fourths = 0.0, from_one = 0.0;
  for (const double g : gamma) {
    s.mean += g / d;
    s.least = std::min(s.least, g);
    s.greatest = std::max(s.greatest, g);
    s.negative += (g < 0.0) / d;
    squares += g * g;
    fourths += g * g * g * g;
    from_one += (g - 1.0) * (g - 1.0);
    sizes.push_back(std::abs(g));
  }
  s.rms = std::sqrt(squares / d);
  s.from_one = std::sqrt(from_one / d);
  s.participation = fourths > 0.0 ? squares / fourths * squares / d : 0.0;
  std::sort(sizes.begin(), sizes.end());
  for (int i = 0; i < 5; ++i) s.quantiles[i] = sorted_quantile(sizes, kQuantiles[i]);
  for (std::size_t j = 0; j < gamma.size(); ++j) {
    const double size = std::abs(gamma[j]);
    s.near_zero += (size < kNearZero * s.rms || size == 0.0) / d;
    if (size > kOutlierMedians * s.quantiles[2]) s.outliers.push_back(static_cast<std::int64_t>(j));
  }
  return s;
}

ReaderStatistics reader_statistics(const std::vector<double>& gamma, const std::vector<double>& squares, double rows) {
  if (gamma.empty() || gamma.size() != squares.size() || !(rows > 0.0))
    throw std::invalid_argument("reader_statistics: one square per γ_j, and at least one row");
  const double d = static_cast<double>(gamma.size());
  ReaderStatistics s;
  s.rows = rows;
  s.precond_min = gamma[0] * gamma[0];
  double g2 = 0.0, w2 = 0.0;
  std::vector<double> channel, lengths, folded;
  for (std::size_t j = 0; j < gamma.size(); ++j) {
    const double g = gamma[j] * gamma[j], w = squares[j];
    g2 += g;
    w2 += w;
    s.imbalance += (g - w) / d;
    s.precond_min = std::min(s.precond_min, g);
    s.precond_max = std::max(s.precond_max, g + w);
    if (g > 0.0) channel.push_back(w / (rows * g));
    lengths.push_back(std::sqrt(w));
    folded.push_back(std::sqrt(g * w));
  }
  s.ratio = std::sqrt(w2 / g2);
  s.trace_ratio = s.ratio / std::sqrt(rows);
  std::sort(channel.begin(), channel.end());
  if (!channel.empty())
    for (int i = 0; i < 3; ++i) s.channel[i] = sorted_quantile(channel, kQuantiles[2 * i]);
  double gg = 0.0, ww = 0.0, gw = 0.0;
  for (std::size_t j = 0; j < gamma.size(); ++j) {
    const double g = gamma[j] * gamma[j] - g2 / d, w = squares[j] - w2 / d;
    gg += g * g;
    ww += w * w;
    gw += g * w;
  }
  if (models::varies(gg, g2 / d, d) && models::varies(ww, w2 / d, d)) s.correlation = gw / std::sqrt(gg * ww);
  s.spread = spread_of(lengths);
  s.folded_spread = spread_of(folded);
  return s;
}

PairProducts pair_products(const std::vector<double>& q, const std::vector<double>& k, std::int64_t head_dim) {
  const auto hd = static_cast<std::size_t>(head_dim);
  if (hd < 2 || hd % 2 != 0 || q.empty() || k.empty() || q.size() % hd != 0 || k.size() % hd != 0)
    throw std::invalid_argument("pair_products: whole heads of an even number of elements");
  const std::size_t heads = q.size() / hd, key_heads = k.size() / hd, half = hd / 2;
  PairProducts out;
  double untied = 0.0;
  std::size_t tied_pairs = 0;
  for (std::size_t i = 0; i < half; ++i) {
    double squares = 0.0;
    for (std::size_t h = 0; h < heads; ++h) {
      const std::size_t kh = h * key_heads / heads;
      const double a = q[h * hd + i] * k[kh * hd + i], b = q[h * hd + half + i] * k[kh * hd + half + i];
      squares += 0.5 * (a * a + b * b) / static_cast<double>(heads);
      if (a * b > 0.0) {
        const double gap = std::log(a / b);
        untied += gap * gap;
        ++tied_pairs;
      }
    }
    out.rms.push_back(std::sqrt(squares));
  }
  const double pairs = static_cast<double>(heads * half);
  out.opposite = 1.0 - static_cast<double>(tied_pairs) / pairs;
  out.untied = tied_pairs > 0 ? std::sqrt(untied / static_cast<double>(tied_pairs)) : 0.0;
  return out;
}

}  // namespace scalevec::experiments
