#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>

#include "experiments/claims/evidence.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/statistics/statistics.hpp"
#include "experiments/system/text.hpp"
#include "theory/power_law.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

// Losses of both ladders: per size, variant's first, the mean over some of the seeds.
struct Losses {
  std::vector<double> better, worse;
};

// What both ladders were run with, and the laws that were fitted to all of it.
struct Ladders {
  std::vector<double> better, worse;  // compute of each size

  double most() const { return std::min(better.back(), worse.back()); }
  double least() const { return std::max(better.front(), worse.front()); }

  std::optional<std::vector<theory::PowerLaw>> fit(const Losses& losses,
                                                   std::span<const theory::PowerLaw> near = {}) const {
    const theory::LossOverCompute both[] = {{better, losses.better}, {worse, losses.worse}};
    return theory::fit_power_laws(both, 1e-3, near);
  }

  // How many times the baseline's compute the variant's is worth at a budget, less 1: from one law to the other within
  // the budgets from least() on. NaN where no laws fit, or they don't meet there.
  double gain(const Losses& losses, double budget, std::span<const theory::PowerLaw> near = {}) const {
    const auto laws = fit(losses, near);
    if (!laws) return kNaN;
    const theory::PowerLaw &variant = (*laws)[0], &baseline = (*laws)[1];
    const double a = variant.loss(budget), b = baseline.loss(budget);
    const auto at = a <= b ? variant.compute(b) : baseline.compute(a);
    if (!at || *at < least()) return kNaN;
    return (a <= b ? budget / *at : *at / budget) - 1.0;
  }
};

std::vector<double> compute_of(const std::vector<MeasuredVariant>& sizes) {
  std::vector<double> out;
  for (const MeasuredVariant& size : sizes) out.push_back(6.0 * size.parameters * size.tokens);
  return out;
}

std::vector<double> losses_of(const std::vector<MeasuredVariant>& sizes, std::span<const size_t> chosen) {
  std::vector<double> out;
  for (const MeasuredVariant& size : sizes) out.push_back(mean_over(size.values, chosen));
  return out;
}

std::vector<size_t> all_of(std::int64_t seeds) {
  std::vector<size_t> out(static_cast<size_t>(seeds));
  std::iota(out.begin(), out.end(), size_t{0});
  return out;
}

json described(const std::vector<MeasuredVariant>& sizes, const std::vector<double>& compute, std::int64_t seeds,
               const theory::PowerLaw& law, std::pair<double, double> exponent) {
  return {{"variant", sizes[0].name.substr(0, sizes[0].name.find(' '))},
          {"compute", compute},
          {"loss", losses_json(losses_of(sizes, all_of(seeds)))},
          {"floor", law.floor},
          {"log_factor", law.log_factor},
          {"exponent", law.exponent},
          {"exponent_low", finite_or_null(exponent.first)},
          {"exponent_high", finite_or_null(exponent.second)}};
}

// The gain without each size in turn.
std::vector<double> without_each(const Ladders& ladders, const Losses& losses) {
  const auto without = [](std::vector<double> list, size_t i) {
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
    return list;
  };
  std::vector<double> out;
  for (size_t i = 0; i < losses.better.size() && losses.better.size() > 4; ++i) {
    const Ladders rest{without(ladders.better, i), without(ladders.worse, i)};
    out.push_back(rest.gain({without(losses.better, i), without(losses.worse, i)}, rest.most()));
  }
  return out;
}

}  // namespace

double mean_over(const std::vector<double>& values, std::span<const size_t> chosen) {
  double sum = 0.0;
  for (const size_t i : chosen) sum += values[i];
  return sum / static_cast<double>(chosen.size());
}

void add_lr_errors(ContrastResult& r, const std::vector<double>& better, const std::vector<double>& worse,
                   const std::function<double(const std::vector<double>&, const std::vector<double>&)>& gain) {
  // Where an error costs next to nothing, the slope is that of a small step.
  constexpr double kLeastStep = 1e-4;
  const double here = gain(better, worse);
  const auto add = [&](const std::vector<MeasuredVariant>& variants, bool is_better) {
    for (size_t i = 0; i < variants.size(); ++i) {
      if (!variants[i].fit) continue;
      std::vector<double> a = better, b = worse;
      const double step = std::max(kLeastStep, variants[i].fit->excess(0.95));
      (is_better ? a : b)[i] -= step;
      const double slope = (gain(a, b) - here) / step;
      r.gain.lr_errors.push_back({*variants[i].fit, slope});
      if (!std::isfinite(slope) && r.gain.reason.empty())
        r.gain.reason = "undefined within the measured range if the lr of \"" + variants[i].name +
                        "\" is as far off as its error allows";
    }
  };
  add(r.better, true);
  add(r.worse, false);
}

void fit_ladder(ContrastResult& r, std::int64_t seeds) {
  const Ladders ladders{compute_of(r.better), compute_of(r.worse)};
  for (const auto* c : {&ladders.better, &ladders.worse})
    for (const double x : *c)
      if (!std::isfinite(x)) {
        r.gain.reason = "a size's record has no parameters or tokens";
        return;
      }
  const auto losses = [&](std::span<const size_t> chosen) {
    return Losses{losses_of(r.better, chosen), losses_of(r.worse, chosen)};
  };
  const Losses measured = losses(all_of(seeds));
  const auto whole = ladders.fit(measured);
  if (!whole) {
    r.gain.reason = "no laws of the form E + A·C^(−α) with one E fit";
    return;
  }
  const auto bootstrap = [&](const auto& statistic, std::uint64_t stream) {
    return Bootstrap(
        static_cast<size_t>(seeds), [&](std::span<const size_t> chosen) { return statistic(losses(chosen)); },
        BootstrapOptions{400, stream});
  };
  for (const size_t k : {size_t{1}, size_t{0}}) {
    const auto exponent = [&](const Losses& l) {
      const auto laws = ladders.fit(l, *whole);
      return laws ? (*laws)[k].exponent : kNaN;
    };
    r.fits.push_back(described(k ? r.worse : r.better, k ? ladders.worse : ladders.better, seeds, (*whole)[k],
                               bootstrap(exponent, 2).interval()));
  }
  const auto gain_at = [&](double budget) {
    return [&, budget](const Losses& l) { return ladders.gain(l, budget, *whole); };
  };
  const double most = ladders.most();
  const Bootstrap at_most = bootstrap(gain_at(most), 3);
  r.gain = bootstrap_gain(at_most, seeds);
  if (!std::isfinite(at_most.estimate()) || !at_most.defined())
    r.gain.reason = "the laws don't meet within the measured budgets, or too many resamples have no fit";
  add_lr_errors(r, measured.better, measured.worse, [&](const auto& better, const auto& worse) {
    return ladders.gain({better, worse}, most, *whole);
  });
  r.without = without_each(ladders, measured);
  // Ten times the budget is another matter: said only where the laws leave little open there.
  const Bootstrap beyond = bootstrap(gain_at(10.0 * most), 3);
  const auto [low, high] = beyond.interval();
  std::vector<double> ends;
  bool constrained = true;
  for (const json& f : r.fits) {
    ends.push_back(number_at(f, "exponent_low"));
    ends.push_back(number_at(f, "exponent_high"));
    constrained = constrained && ends.end()[-2] > 0.0 && ends.back() < 3.0 * ends.end()[-2];
  }
  if (!constrained || !(high - low < 0.5))
    r.extrapolation = printed(
        "not extrapolated: over these sizes the fits leave the exponents between %.3g and %.3g, and %.3g and %.3g",
        ends[0], ends[1], ends[2], ends[3]);
  else
    r.extrapolation = printed("at ten times the largest budget, if the fitted laws hold: %.3g [%.3g, %.3g]",
                              1.0 + beyond.estimate(), 1.0 + low, 1.0 + high);
}

}  // namespace scalevec::experiments
