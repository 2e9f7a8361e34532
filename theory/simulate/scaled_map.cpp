#include "theory/simulate/scaled_map.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>

#include "optim/core/random.hpp"
#include "theory/simulate/kernels.hpp"
#include "theory/simulate/replica_optimizer.hpp"

namespace scalevec::theory {
namespace {

using namespace simulate;

constexpr double kNever = std::numeric_limits<double>::infinity();

void refuse(std::size_t replica, const std::string& why) {
  if (!why.empty())
    throw std::invalid_argument("scaled-map simulation: replica " + std::to_string(replica) + ": " + why);
}

std::string replica_error(const SimulatedMap& map, const MapReplica& r) {
  const std::size_t entries = map.rows * map.columns;
  const auto fits = [&](const std::vector<double>& x) { return x.size() == 1 || x.size() == entries; };
  if (!fits(r.h)) return "h must have 1 or rows*columns elements";
  if (!fits(r.target)) return "target must have 1 or rows*columns elements";
  if (!r.initial_w.empty() && !fits(r.initial_w)) return "initial_w must have 0, 1 or rows*columns elements";
  if (!r.noise_factor.empty() && !fits(r.noise_factor)) return "noise_factor must have 0, 1 or rows*columns elements";
  for (const double x : r.h)
    if (!(std::isfinite(x) && x >= 0.0)) return "h must be finite and >= 0";
  const auto finite = [](const std::vector<double>& x) {
    return std::all_of(x.begin(), x.end(), [](double value) { return std::isfinite(value); });
  };
  if (!finite(r.target)) return "target must be finite";
  if (!finite(r.initial_w)) return "initial_w must be finite";
  if (!finite(r.noise_factor)) return "noise_factor must be finite";
  if (!std::isfinite(r.initial_input)) return "initial_input must be finite";
  if (map.form != ScaleForm::plain && r.initial_input != 1.0)
    return "initial_input must be 1 where the form is not plain";
  if (!(std::isfinite(r.growth) && r.growth > -1.0)) return "growth must be finite and > -1";
  if (!(std::isfinite(r.sigma) && r.sigma >= 0.0)) return "sigma must be finite and >= 0";
  if (std::isnan(r.goal)) return "goal must not be NaN";
  if (r.weights.method != r.scales.method) return "weights and scales must have one method";
  return "";
}

// kLanes replicas and all they need; the last ones are copies of the last given.
class Block {
 public:
  Block(const SimulatedMap& map, std::span<const MapReplica> replicas, const MapOptions& options)
      : map_(map), options_(options), used_(replicas.size()), entries_(map.rows * map.columns) {
    const auto at = [&](std::size_t l) -> const MapReplica& { return replicas[std::min(l, used_ - 1)]; };
    const auto fill = [&](Rows& rows, const std::vector<double> MapReplica::*values, double fallback = 0.0) {
      rows.resize(entries_ * kLanes);
      for (std::size_t l = 0; l < kLanes; ++l) {
        const std::vector<double>& x = at(l).*values;
        for (std::size_t e = 0; e < entries_; ++e)
          rows[e * kLanes + l] = x.empty() ? fallback : x[x.size() == 1 ? 0 : e];
      }
    };
    const auto any = [&](const auto& says) { return std::any_of(replicas.begin(), replicas.end(), says); };
    fill(h_, &MapReplica::h);
    fill(target_, &MapReplica::target);
    fill(w_, &MapReplica::initial_w);
    if (any([](const MapReplica& r) { return !r.noise_factor.empty(); }))
      fill(noise_factor_, &MapReplica::noise_factor, 1.0);
    if (any([](const MapReplica& r) { return r.growth != 0.0; }))
      for (std::size_t l = 0; l < kLanes; ++l) growth_.push_back(1.0 + at(l).growth);
    std::vector<SimulatedRule> weights, scales;
    for (std::size_t l = 0; l < kLanes; ++l) {
      weights.push_back(at(l).weights);
      scales.push_back(at(l).scales);
      sigma_.push_back(at(l).sigma);
      streams_.push_back(stream_of("map.noise") + at(l).noise);
      goal_.push_back(at(l).goal);
      noisy_ = noisy_ || at(l).sigma > 0.0;
    }
    grad_w_.resize(entries_ * kLanes);
    noise_.resize(noisy_ ? entries_ * kLanes : 0);
    weight_step_ = std::make_unique<ReplicaOptimizer>(weights, entries_);
    branches_ = map.input == SimulatedMap::Input::none ? 0 : map.input == SimulatedMap::Input::own ? map.branches : 1;
    if (branches_ > 0) {
      for (std::size_t e = 0; e < branches_ * map.columns; ++e)
        for (std::size_t l = 0; l < kLanes; ++l) vectors_.push_back(at(l).initial_input);
      vectors_grad_.resize(vectors_.size());
      vectors_step_ = std::make_unique<ReplicaOptimizer>(scales, branches_ * map.columns);
      if (map.form != ScaleForm::plain) {
        magnitude_.assign(branches_ * kLanes, map.form == ScaleForm::exponential_radial ? 0.0 : 1.0);
        magnitude_grad_.resize(magnitude_.size());
        inverse_norm_.resize(magnitude_.size());
        v_.resize(vectors_.size());
        v_grad_.resize(vectors_.size());
        magnitude_step_ = std::make_unique<ReplicaOptimizer>(scales, branches_);
      }
    }
    if (map.output) {
      u_.assign(map.rows * kLanes, 1.0);
      u_grad_.resize(u_.size());
      output_step_ = std::make_unique<ReplicaOptimizer>(scales, map.rows);
    }
  }

  void run(MapResult* results) {
    Rows loss(kLanes), most(kLanes);
    std::vector<double> run_of(kLanes, 0.0), arrival(kLanes, kNever);
    std::vector<MapResult> sums(kLanes);
    std::vector<bool> diverged(kLanes, false);
    bool any_lane_ended = false;
    for (std::int64_t t = 0; t <= options_.steps; ++t) {
      gradients(t, loss.data());
      if (t == 0)
        for (std::size_t l = 0; l < kLanes; ++l) most[l] = options_.limit * (1.0 + loss[l]);
      // Until a lane arrives or diverges there is nothing to note down.
      int all_run_on = 1;
      for (std::size_t l = 0; l < kLanes; ++l)
        all_run_on &= static_cast<int>(loss[l] <= most[l]) & static_cast<int>(loss[l] > goal_[l]);
      any_lane_ended = any_lane_ended || all_run_on == 0;
      std::size_t running = any_lane_ended ? 0 : kLanes;
      for (std::size_t l = 0; any_lane_ended && l < kLanes; ++l) {
        if (!(loss[l] <= most[l])) diverged[l] = true;
        if (diverged[l] || arrival[l] < kNever) continue;
        run_of[l] = loss[l] <= goal_[l] ? run_of[l] + 1.0 : 0.0;
        if (run_of[l] >= static_cast<double>(options_.hold)) arrival[l] = static_cast<double>(t + 1 - options_.hold);
        running += arrival[l] == kNever;
      }
      if (next_course_ < options_.course_steps.size() && t == options_.course_steps[next_course_]) {
        ++next_course_;
        for (std::size_t l = 0; l < used_; ++l) results[l].course.push_back(state(l));
      }
      if (!options_.until_arrival && t > options_.steps - options_.average_steps) average(loss, sums);
      if (t == options_.steps || (options_.until_arrival && running == 0)) break;
      step();
    }
    const double n = static_cast<double>(options_.average_steps);
    constexpr double kNotGiven = std::numeric_limits<double>::quiet_NaN();
    for (std::size_t l = 0; l < used_; ++l) {
      if (options_.until_arrival)
        results[l] = {kNotGiven, kNotGiven, kNotGiven, kNotGiven, arrival[l], std::move(results[l].course)};
      else
        results[l] = {diverged[l] ? kNever : sums[l].loss / n,
                      sums[l].input_sum / n,
                      sums[l].input_sq / n,
                      sums[l].weight_sq / n,
                      arrival[l],
                      std::move(results[l].course)};
    }
  }

 private:
  bool formed() const { return !magnitude_.empty(); }
  const double* scale() const { return branches_ == 0 ? nullptr : formed() ? v_.data() : vectors_.data(); }

  FormJob form(std::size_t branch) {
    const std::size_t wide = branch * map_.columns * kLanes, one = branch * kLanes;
    const double* magnitude =
        map_.form == ScaleForm::exponential_radial ? exp_magnitude_.data() + one : magnitude_.data() + one;
    return {map_.columns,
            map_.form != ScaleForm::product,
            magnitude,
            vectors_.data() + wide,
            v_.data() + wide,
            inverse_norm_.data() + one,
            v_grad_.data() + wide,
            magnitude_grad_.data() + one,
            vectors_grad_.data() + wide};
  }

  void gradients(std::int64_t t, double* loss) {
    const Table& table = kernels();
    if (map_.form == ScaleForm::exponential_radial) {
      exp_magnitude_ = magnitude_;
      for (double& x : exp_magnitude_) x = std::exp(x);
    }
    if (formed())
      for (std::size_t b = 0; b < branches_; ++b) table.form_forward(form(b));
    if (noisy_)
      replica_noise(options_.seed, streams_, static_cast<std::uint64_t>(t) * entries_, entries_, noise_.data());
    for (std::size_t x = 0; noisy_ && x < noise_factor_.size(); ++x) noise_[x] *= noise_factor_[x];
    table.map({map_.rows, map_.columns, std::max<std::size_t>(1, branches_), h_.data(), target_.data(), sigma_.data(),
               noisy_ ? noise_.data() : nullptr, w_.data(), scale(), map_.output ? u_.data() : nullptr, grad_w_.data(),
               branches_ == 0 ? nullptr
               : formed()     ? v_grad_.data()
                              : vectors_grad_.data(),
               map_.output ? u_grad_.data() : nullptr, loss});
    if (!formed()) return;
    for (std::size_t b = 0; b < branches_; ++b) table.form_backward(form(b));
    // ∂v/∂b = v where ∂v/∂β = v/β.
    if (map_.form == ScaleForm::exponential_radial)
      for (std::size_t i = 0; i < magnitude_grad_.size(); ++i) magnitude_grad_[i] *= exp_magnitude_[i];
  }

  void step() {
    if (!map_.frozen) weight_step_->step(w_.data(), grad_w_.data());
    if (branches_ > 0) vectors_step_->step(vectors_.data(), vectors_grad_.data());
    if (formed()) magnitude_step_->step(magnitude_.data(), magnitude_grad_.data());
    if (map_.output) output_step_->step(u_.data(), u_grad_.data());
    for (std::size_t x = 0; !growth_.empty() && x < target_.size(); ++x) target_[x] *= growth_[x % kLanes];
  }

  MapState state(std::size_t l) const {
    const double* v = scale();
    MapState s;
    for (std::size_t e = 0; e < entries_; ++e) s.weight_sq += w_[e * kLanes + l] * w_[e * kLanes + l];
    for (std::size_t e = 0; e < branches_ * map_.columns; ++e) s.input_sq += v[e * kLanes + l] * v[e * kLanes + l];
    return s;
  }

  void average(const Rows& loss, std::vector<MapResult>& sums) const {
    const double* v = scale();
    for (std::size_t l = 0; l < kLanes; ++l) {
      sums[l].loss += loss[l];
      for (std::size_t e = 0; e < entries_; ++e) sums[l].weight_sq += w_[e * kLanes + l] * w_[e * kLanes + l];
      for (std::size_t e = 0; e < branches_ * map_.columns; ++e) {
        sums[l].input_sum += v[e * kLanes + l];
        sums[l].input_sq += v[e * kLanes + l] * v[e * kLanes + l];
      }
    }
  }

  SimulatedMap map_;
  MapOptions options_;
  std::size_t used_, entries_, branches_ = 0, next_course_ = 0;
  bool noisy_ = false;
  Rows h_, target_, w_, grad_w_, noise_, sigma_, goal_;
  Rows noise_factor_, growth_;   // empty where no replica has them
  Rows vectors_, vectors_grad_;  // γ or α
  Rows magnitude_, magnitude_grad_, exp_magnitude_, inverse_norm_, v_, v_grad_;
  Rows u_, u_grad_;
  std::vector<std::uint64_t> streams_;
  std::unique_ptr<ReplicaOptimizer> weight_step_, vectors_step_, magnitude_step_, output_step_;
};

}  // namespace

std::string SimulatedMap::error() const {
  if (rows == 0) return "rows must be at least 1";
  if (columns == 0) return "columns must be at least 1";
  if (branches == 0 || rows % branches != 0) return "branches must divide rows";
  if (form != ScaleForm::plain && form != ScaleForm::original && form != ScaleForm::product &&
      form != ScaleForm::exponential_radial)
    return "form must be plain, or, product or er";
  if (input == Input::none && form != ScaleForm::plain) return "form must be plain where there is no input scale";
  return "";
}

std::string MapOptions::error() const {
  if (steps < 1) return "steps must be >= 1";
  if (average_steps < 1 || average_steps > steps) return "average_steps must be in 1..steps";
  if (!(limit > 0.0)) return "limit must be > 0";
  if (hold < 1 || hold > steps) return "hold must be in 1..steps";
  for (std::size_t i = 0; i < course_steps.size(); ++i)
    if (course_steps[i] < (i ? course_steps[i - 1] + 1 : 0) || course_steps[i] > steps)
      return "course_steps must ascend within 0..steps";
  return "";
}

std::vector<MapResult> simulate_scaled_map(const SimulatedMap& map, std::span<const MapReplica> replicas,
                                           const MapOptions& options) {
  for (const std::string& why : {map.error(), options.error()})
    if (!why.empty()) throw std::invalid_argument("scaled-map simulation: " + why);
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    refuse(i, replica_error(map, replicas[i]));
    refuse(i, replicas[i].weights.error());
    refuse(i, replicas[i].scales.error());
    if (replicas[i].weights.method != replicas[0].weights.method) refuse(i, "method must be the first replica's");
  }
  std::vector<MapResult> results(replicas.size());
  for (std::size_t first = 0; first < replicas.size(); first += kLanes)
    Block(map, replicas.subspan(first, std::min(kLanes, replicas.size() - first)), options).run(results.data() + first);
  return results;
}

}  // namespace scalevec::theory
