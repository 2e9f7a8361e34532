#include <algorithm>
#include <cmath>
#include <cstdio>

#include "scalevec/experiments/figures/figure.hpp"
#include "scalevec/experiments/figures/series.hpp"
#include "scalevec/optim/core/random.hpp"
#include "scalevec/theory/branches.hpp"

// T6: own scales per branch (HG) against one, each at its best learning rate.
namespace scalevec {
namespace {

// Steps of gradient descent from γ = 1, w ≈ 0 until the loss is `relative` of its start, at the best lr of a grid.
double best_steps(const Branches& b, bool own, double relative, std::int64_t most, double start) {
  const std::size_t c = b.h.size(), scales = own ? c : 1;
  const auto loss_of = [&](const std::vector<double>& gamma, const std::vector<double>& w) {
    double loss = 0.0;
    for (std::size_t j = 0; j < c; ++j) loss += 0.5 * b.h[j] * std::pow(gamma[own ? j : 0] * w[j] - b.target[j], 2);
    return loss;
  };
  double best = INFINITY;
  for (double lr = 2e-4; lr < 20.0; lr *= 1.25) {
    std::vector<double> gamma(scales, 1.0), w(c, start), dgamma(scales);
    const double goal = relative * loss_of(gamma, w);
    for (std::int64_t t = 1; t <= most && static_cast<double>(t) < best; ++t) {
      std::fill(dgamma.begin(), dgamma.end(), 0.0);
      for (std::size_t j = 0; j < c; ++j) {
        double& scale = gamma[own ? j : 0];
        const double g = b.h[j] * (scale * w[j] - b.target[j]);
        dgamma[own ? j : 0] += w[j] * g;
        w[j] -= lr * scale * g;
      }
      for (std::size_t j = 0; j < scales; ++j) gamma[j] -= lr * dgamma[j];
      const double loss = loss_of(gamma, w);
      if (!(loss < 1e6)) break;
      if (loss <= goal) best = static_cast<double>(t);
    }
  }
  return best;
}

FigureResult draw(const FigureValues& v) {
  const auto draws = v.whole("draws");
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  FigureResult result;
  result.required = 0.1;
  std::vector<double> predicted, measured;
  Panel panel;
  char title[80];
  std::snprintf(title, sizeof title, "Steps to %g of the initial loss, each at its best learning rate", v["relative"]);
  panel.title = title;
  panel.x_label = "predicted: ratio of condition numbers, shared / own";
  panel.y_label = "measured: steps with a shared γ / with own γ";
  panel.log_x = panel.log_y = true;
  int color = 0;
  for (const double correlation : {-1.0, 0.0, 1.0}) {
    std::vector<double> x, y;
    for (std::int64_t n = 0; n < draws; ++n) {
      Branches b;
      const auto at = static_cast<std::uint64_t>(n);
      const double first = random_normal(seed, 10 + static_cast<std::uint64_t>(color), 2 * at);
      const double second = random_normal(seed, 10 + static_cast<std::uint64_t>(color), 2 * at + 1);
      const double log_r = correlation == 0.0 ? second : correlation * first;
      b.h = {std::exp(first), std::exp(-first)};
      b.target = {std::exp(log_r), std::exp(-log_r)};
      const double shared = best_steps(b, false, v["relative"], v.whole("most"), 1e-3), own = best_steps(b, true, v["relative"], v.whole("most"), 1e-3);
      if (!std::isfinite(shared) || !std::isfinite(own)) continue;
      x.push_back(shared_condition_number(b, 1.0) / own_condition_number(b, 1.0));
      y.push_back(shared / own);
      predicted.push_back(std::log(x.back()));
      measured.push_back(std::log(y.back()));
    }
    char label[64];
    std::snprintf(label, sizeof label, "log h and log R: correlation %g", correlation);
    panel.series.push_back(points(label, x, y, color));
    ++color;
  }
  double mx = 0.0, my = 0.0, xx = 0.0, yy = 0.0, xy = 0.0;
  const auto n = static_cast<double>(predicted.size());
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    mx += predicted[i] / n;
    my += measured[i] / n;
  }
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    xx += std::pow(predicted[i] - mx, 2);
    yy += std::pow(measured[i] - my, 2);
    xy += (predicted[i] - mx) * (measured[i] - my);
  }
  const double correlation = xy / std::sqrt(xx * yy);
  result.agreement = 1.0 - correlation;
  double low = 1.0, high = 1.0;
  for (const double p : predicted) {
    low = std::min(low, std::exp(p));
    high = std::max(high, std::exp(p));
  }
  panel.series.push_back(line("equal", {low, high}, {low, high}, 6, Series::Style::dashed));
  result.plot.title = "T6  One scale vector for two branches, or one each (HG)";
  result.plot.panel_width = 760;
  result.plot.panel_height = 500;
  result.plot.panels = {panel};
  char text[800];
  std::snprintf(text, sizeof text,
                "T6: two branches with curvatures h and targets R read one input through a shared γ or one each. What decides at each "
                "one's best stable learning rate is the condition number at the minimum: own scales (HG) win where large targets sit on "
                "flat branches (correlation −1) and lose where they sit on steep ones. The sooner the runs are stopped, the more their beginning counts, which a condition "
                "number at the minimum says nothing about (--set relative=1e-6). %zu pairs of runs of gradient descent from w = 1e-3. "
                "Correlation of the logarithms %.3f (the agreement is 1 minus that).",
                predicted.size(), correlation);
  result.caption = text;
  return result;
}

}  // namespace

Figure figure_t6() {
  return {"T6",
          "Measured ratio of times, shared against own scales, and the condition numbers' prediction",
          {{"relative", 1e-10, 1e-10, {1e-20, 0.1}, "loss to reach, as a share of the initial one"},
           {"draws", 40, 120, Range::between(3, 1e5), "pairs of branches per correlation", true},
           {"most", 20000, 100000, Range::between(100, 1e7), "steps after which a learning rate is given up", true},
           {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the branches", true}},
          draw};
}

}  // namespace scalevec
