#include <algorithm>
#include <cmath>
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

std::vector<double> compute_of(const std::vector<ArmResult>& sizes) {
  std::vector<double> out;
  for (const ArmResult& size : sizes) out.push_back(6.0 * size.parameters * size.tokens);
  return out;
}

std::optional<theory::PowerLaw> fit(const std::vector<ArmResult>& sizes, const std::vector<double>& compute,
                                    std::span<const size_t> chosen, const theory::PowerLaw* near = nullptr) {
  std::vector<double> losses;
  for (const ArmResult& size : sizes) losses.push_back(mean_over(size.values, chosen));
  return theory::fit_power_law(compute, losses, 1e-3, near);
}

std::vector<size_t> all_of(std::int64_t seeds) {
  std::vector<size_t> out(static_cast<size_t>(seeds));
  std::iota(out.begin(), out.end(), size_t{0});
  return out;
}

// How many times the baseline's compute the variant's is worth, from one to the other within the measured budgets.
double compute_ratio(const theory::PowerLaw& variant, const theory::PowerLaw& baseline, double least, double most) {
  const double a = variant.loss(most), b = baseline.loss(most);
  const auto at = a <= b ? variant.compute(b) : baseline.compute(a);
  if (!at || *at < least) return kNaN;
  return a <= b ? most / *at : *at / most;
}

json described(const std::vector<ArmResult>& sizes, const std::vector<double>& compute, std::int64_t seeds) {
  std::vector<double> losses;
  for (const ArmResult& size : sizes) losses.push_back(mean_interval(size.values).mean);
  json out{{"arm", sizes[0].name.substr(0, sizes[0].name.find(' '))},
           {"compute", compute},
           {"loss", losses_json(losses)},
           {"floor", 0.0},
           {"log_factor", 0.0},
           {"exponent", 0.0},
           {"exponent_low", nullptr},
           {"exponent_high", nullptr}};
  const auto whole = fit(sizes, compute, all_of(seeds));
  if (!whole) return out;
  const Bootstrap exponent(static_cast<size_t>(seeds),
                           [&](std::span<const size_t> chosen) {
                             const auto law = fit(sizes, compute, chosen, &*whole);
                             return law ? law->exponent : kNaN;
                           },
                           {400, 2});
  const auto [low, high] = exponent.interval();
  out.update({{"floor", whole->floor},
              {"log_factor", whole->log_factor},
              {"exponent", whole->exponent},
              {"exponent_low", finite_or_null(low)},
              {"exponent_high", finite_or_null(high)}});
  return out;
}

// The ratio at the largest budget of what is left, without each size in turn.
void leave_one_out(ContrastResult& r, const std::vector<double>& variant_compute,
                   const std::vector<double>& baseline_compute, std::int64_t seeds) {
  const auto without = [](auto list, size_t i) {
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
    return list;
  };
  for (size_t i = 0; i < r.better.size() && r.better.size() > 4; ++i) {
    const std::vector<double> a = without(variant_compute, i), b = without(baseline_compute, i);
    const auto better = fit(without(r.better, i), a, all_of(seeds)), worse = fit(without(r.worse, i), b, all_of(seeds));
    const double most = std::min(a.back(), b.back()), least = std::max(a.front(), b.front());
    r.without.push_back(better && worse ? compute_ratio(*better, *worse, least, most) - 1.0 : kNaN);
  }
}

}  // namespace

double mean_over(const std::vector<double>& values, std::span<const size_t> chosen) {
  double sum = 0.0;
  for (const size_t i : chosen) sum += values[i];
  return sum / static_cast<double>(chosen.size());
}

void fit_ladder(ContrastResult& r, std::int64_t seeds) {
  const std::vector<double> variant_compute = compute_of(r.better), baseline_compute = compute_of(r.worse);
  for (const auto* c : {&variant_compute, &baseline_compute})
    for (const double x : *c)
      if (!std::isfinite(x)) {
        r.gain.reason = "a size's record has no parameters or tokens";
        return;
      }
  r.fits = {described(r.worse, baseline_compute, seeds), described(r.better, variant_compute, seeds)};
  const double most = std::min(variant_compute.back(), baseline_compute.back());
  const double least = std::max(variant_compute.front(), baseline_compute.front());
  const auto better = fit(r.better, variant_compute, all_of(seeds)),
             worse = fit(r.worse, baseline_compute, all_of(seeds));
  if (!better || !worse) {
    r.gain.reason = "no law of the form E + A·C^(−α) fits";
    return;
  }
  const auto ratio_at = [&](double budget, double from, std::span<const size_t> chosen) {
    const auto a = fit(r.better, variant_compute, chosen, &*better),
               b = fit(r.worse, baseline_compute, chosen, &*worse);
    return a && b ? compute_ratio(*a, *b, from, budget) - 1.0 : kNaN;
  };
  const BootstrapOptions options{400, 3};
  const Bootstrap at_most(
      static_cast<size_t>(seeds), [&](auto chosen) { return ratio_at(most, least, chosen); }, options);
  r.gain = bootstrap_gain(at_most, seeds);
  if (!std::isfinite(at_most.estimate()) || !at_most.defined())
    r.gain.reason = "the fits don't meet within the measured budgets, or too many resamples have no fit";
  leave_one_out(r, variant_compute, baseline_compute, seeds);
  // Ten times the budget is another matter: said only where the laws leave little open there.
  const Bootstrap beyond(
      static_cast<size_t>(seeds), [&](auto chosen) { return ratio_at(10.0 * most, least, chosen); }, options);
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
