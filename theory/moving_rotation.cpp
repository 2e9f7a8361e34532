#include "theory/moving_rotation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "theory/domain.hpp"

namespace scalevec::theory {

using namespace domain;

double UpdateNoise::long_run() const {
  double sum = mean_square;
  for (const Lag& lag : lags) sum += 2.0 * lag.amplitude * lag.ratio / (1.0 - lag.ratio);
  return sum;
}

UpdateNoise adamw_update_noise(double dimension, double beta1) {
  require(std::isfinite(dimension) && dimension >= 2.0, "dimension", dimension, "at least 2");
  fraction("beta1", beta1);
  const double square = dimension * (1.0 - beta1) / (1.0 + beta1);
  return {square, {{square, beta1}}, true};
}

UpdateNoise lion_update_noise(double dimension, double beta1, double beta2) {
  require(std::isfinite(dimension) && dimension >= 2.0, "dimension", dimension, "at least 2");
  fraction("beta1", beta1);
  fraction("beta2", beta2);
  const double m = (1.0 - beta2) / (1.0 + beta2), c = beta1 * beta1 * m + (1.0 - beta1) * (1.0 - beta1);
  const double first = beta1 * (beta1 * beta2 * m + (1.0 - beta2) * (1.0 - beta1)) / c;
  UpdateNoise out{dimension, {}, false};
  if (first == 0.0) return out;
  // (2/π) asin(ρ₁β₂^{k−1}): a term per odd power of ρ, that falls with k as β₂ to this power.
  double coefficient = 1.0, power = first, ratio = beta2;
  for (int i = 0; i < 100000; ++i) {
    const double term = 2.0 / 3.14159265358979323846 * dimension * coefficient / (2 * i + 1) * power;
    // At β₂ = 0 only lag 1 counts, whatever the ratio.
    if (ratio > 0.0) out.lags.push_back({term / ratio, ratio});
    if (term < 1e-13 * dimension || ratio == 0.0) break;
    coefficient *= (2.0 * i + 1.0) / (2.0 * i + 2.0);
    power *= first * first;
    ratio *= beta2 * beta2;
  }
  return out;
}

UpdateNoise muon_update_noise(double size, double momentum, const Orthogonalised& by) {
  const MuonNoise n = muon_noise(size, momentum, by);
  const double variance = n.spread * n.spread, correlated = 0.5 * (1.0 / variance - 1.0) * (1.0 - momentum);
  const double linear = size * size * by.gain * by.gain, cubic = size * by.mean_square - linear;
  UpdateNoise out{size * by.mean_square, {}, false};
  if (momentum > 0.0)
    // r_k = c μ^k with 1 + 2Σ r_k = 1/τ²: the amplitude carries c over μ's power.
    out.lags = {{linear * correlated / momentum, momentum},
                {cubic * std::pow(correlated / momentum, 3), momentum * momentum * momentum}};
  return out;
}

UpdateNoise muon_update_noise(double rows, double columns, double momentum, const Orthogonalised& by) {
  require(std::isfinite(rows) && rows >= 1.0, "rows", rows, "at least 1");
  require(std::isfinite(columns) && columns >= 1.0, "columns", columns, "at least 1");
  const double size = std::sqrt(rows * columns);
  return muon_update_noise(size, momentum, {by.gain, by.mean_square * std::min(rows, columns) / size});
}

UpdateNoise scaled_noise(UpdateNoise noise, double factor) {
  positive("factor", factor);
  noise.mean_square *= factor * factor;
  for (UpdateNoise::Lag& lag : noise.lags) lag.amplitude *= factor * factor;
  return noise;
}

std::vector<StepRate> step_rates(const Schedule& schedule, double lr, double weight_decay, DecayCoupling coupling,
                                 std::int64_t steps) {
  positive("lr", lr);
  not_negative("weight_decay", weight_decay);
  require(steps >= 1, "steps", static_cast<double>(steps), "at least 1");
  require(coupling != DecayCoupling::l2, "coupling", 0.0, "lr, independent or lr2");
  if (const std::string error = schedule.error(); !error.empty()) throw std::domain_error(error);
  std::vector<StepRate> out;
  for (std::int64_t t = 0; t < steps; ++t) {
    const double now = lr * schedule.factor(t);
    out.push_back({now, decay_terms(coupling, weight_decay, now, lr).shrink});
  }
  return out;
}

namespace {

// The angle between w and (1 − x)w − ηu, from E‖w‖², E w·u and E u·u: nothing cancels.
double angle_of(double norm_sq, double along, double square, const StepRate& rate) {
  return std::atan2(rate.lr * std::sqrt(std::max(0.0, norm_sq * square - along * along)),
                    (1.0 - rate.decay) * norm_sq - rate.lr * along);
}

void check(const StepRate& rate) {
  not_negative("lr", rate.lr);
  require(rate.decay >= 0.0 && rate.decay < 1.0, "decay", rate.decay, "[0, 1)");
}

}  // namespace

double RotationWalk::Move::rotation() const { return std::atan2(std::sqrt(std::max(0.0, across_sq)), along); }

RotationWalk::Move& RotationWalk::Move::operator+=(const Move& b) {
  // |a|²|b'|² + |b|²|a'|² − 2(a·a')(b·b'), of two small angles, by the difference of the steps' relative parts.
  const double along_gap = along * b.norm_sq - b.along * norm_sq;
  double mixed = norm_sq * b.next_sq + b.norm_sq * next_sq - 2.0 * along * b.along;
  if (norm_sq > 0.0 && b.norm_sq > 0.0)
    mixed = (across_sq * b.norm_sq / norm_sq) + (b.across_sq * norm_sq / b.norm_sq) +
            along_gap * along_gap / (norm_sq * b.norm_sq);
  across_sq += b.across_sq + mixed;
  norm_sq += b.norm_sq;
  along += b.along;
  next_sq += b.next_sq;
  return *this;
}

RotationWalk::RotationWalk(UpdateNoise noise, double norm_sq)
    : noise_(std::move(noise)), norm_sq_(norm_sq), along_(noise_.lags.size(), 0.0) {
  positive("norm_sq", norm_sq);
  positive("mean_square", noise_.mean_square);
  for (const UpdateNoise::Lag& lag : noise_.lags) fraction("ratio", lag.ratio);
  if (noise_.bias_corrected && !noise_.lags.empty()) power_ = beta_ = noise_.lags[0].ratio;
}

double RotationWalk::update_along() const {
  double sum = 0.0;
  for (const double part : along_) sum += part;
  return sum;
}

double RotationWalk::update_square() const {
  return noise_.bias_corrected ? noise_.mean_square * (1.0 + power_) / (1.0 - power_) : noise_.mean_square;
}

// What the correction makes of the mean of the step before.
double RotationWalk::fresh() const { return noise_.bias_corrected ? (1.0 - power_) / (1.0 - power_ * beta_) : 1.0; }

RotationWalk::Move RotationWalk::next_move(const StepRate& rate) const {
  check(rate);
  const double along = update_along(), square = update_square(), kept = 1.0 - rate.decay;
  return {norm_sq_, kept * norm_sq_ - rate.lr * along,
          kept * (kept * norm_sq_ - 2.0 * rate.lr * along) + rate.lr * rate.lr * square,
          rate.lr * rate.lr * std::max(0.0, norm_sq_ * square - along * along)};
}

RotationWalk::Move RotationWalk::step(const StepRate& rate) {
  const Move move = next_move(rate);
  const double square = update_square(), kept = 1.0 - rate.decay;
  for (std::size_t i = 0; i < along_.size(); ++i) {
    const double amplitude = noise_.bias_corrected ? square : noise_.lags[i].amplitude;
    along_[i] = noise_.lags[i].ratio * fresh() * (kept * along_[i] - rate.lr * amplitude);
  }
  norm_sq_ = move.next_sq;
  power_ *= beta_;
  return move;
}

std::vector<Turn> moving_rotation(const UpdateNoise& noise, double norm_sq, std::span<const StepRate> rates) {
  RotationWalk walk(noise, norm_sq);
  std::vector<Turn> out;
  out.reserve(rates.size());
  for (const StepRate& rate : rates) {
    const RotationWalk::Move move = walk.step(rate);
    out.push_back({move.norm_sq, move.rotation()});
  }
  return out;
}

std::vector<Turn> moving_rotation_sgd(double momentum, double grad_norm, double norm_sq,
                                      std::span<const StepRate> rates) {
  fraction("momentum", momentum);
  positive("grad_norm", grad_norm);
  positive("norm_sq", norm_sq);
  std::vector<Turn> out;
  double square = 0.0, along = 0.0;  // E u·u and E w·u of the last step's buffer
  for (const StepRate& rate : rates) {
    check(rate);
    square = momentum * momentum * square + grad_norm / norm_sq * grad_norm;
    along *= momentum;
    out.push_back({norm_sq, angle_of(norm_sq, along, square, rate)});
    const double kept = 1.0 - rate.decay;
    norm_sq = kept * (kept * norm_sq - 2.0 * rate.lr * along) + rate.lr * rate.lr * square;
    along = kept * along - rate.lr * square;
  }
  return out;
}

Turn settled_rotation(const UpdateNoise& noise, const StepRate& rate) {
  check(rate);
  positive("lr", rate.lr);
  positive("decay", rate.decay);
  const double kept = 1.0 - rate.decay;
  double lagged = 0.0;
  for (const UpdateNoise::Lag& lag : noise.lags) lagged += lag.amplitude * lag.ratio / (1.0 - lag.ratio * kept);
  const double norm_sq =
      rate.lr / rate.decay * rate.lr * (noise.mean_square + 2.0 * kept * lagged) / (2.0 - rate.decay);
  return {norm_sq, angle_of(norm_sq, -rate.lr * lagged, noise.mean_square, rate)};
}

std::vector<double> lr_for_rotation(const UpdateNoise& noise, double norm_sq, double weight_decay,
                                    std::span<const double> rotation) {
  not_negative("weight_decay", weight_decay);
  RotationWalk walk(noise, norm_sq);
  std::vector<double> out;
  for (const double angle : rotation) {
    require(angle >= 0.0 && angle < 1.57, "rotation", angle, "[0, 1.57) radians");
    const double tangent = std::tan(angle), length_sq = walk.norm_sq(), along = walk.update_along();
    const double across = std::sqrt(std::max(0.0, length_sq * walk.update_square() - along * along));
    out.push_back(tangent * length_sq / (across + tangent * (weight_decay * length_sq + along)));
    walk.step({out.back(), out.back() * weight_decay});
  }
  return out;
}

Holds moving_rotation_holds(std::span<const Turn> turns, double beta2, double dimension) {
  fraction("beta2", beta2);
  Holds holds;
  at_least(holds, "the block's size d", dimension, 64.0);
  double most = 0.0;
  for (std::size_t t = 1; t < turns.size(); ++t)
    most = std::max(most, std::abs(std::log(turns[t].norm_sq / turns[t - 1].norm_sq)));
  at_most(holds, "what |w|^2 changes within the second moment's memory", most / (1.0 - beta2), 0.3);
  return holds;
}

RotationPlan rotation_plan(const UpdateNoise& noise, double norm_sq, std::span<const StepRate> rates) {
  require(!rates.empty(), "rates", 0.0, "at least one step");
  const std::vector<Turn> turns = moving_rotation(noise, norm_sq, rates);
  RotationPlan out;
  double largest = 0.0, sum = 0.0;
  std::size_t off = 0, last = 0;
  for (std::size_t t = 0; t < rates.size(); ++t) {
    largest = std::max(largest, rates[t].decay);
    sum += rates[t].decay;
    out.decay_leaves *= 1.0 - rates[t].decay;
    if (rates[t].lr > 0.0) last = t;
    // Without decay there is nothing to settle at.
    if (rates[t].lr == 0.0) continue;
    off +=
        rates[t].decay == 0.0 || std::abs(turns[t].rotation / settled_rotation(noise, rates[t]).rotation - 1.0) > 0.1;
  }
  out.relaxation_steps = largest > 0.0 ? 0.5 / largest : std::numeric_limits<double>::infinity();
  out.start = turns.front().rotation;
  out.middle = turns[turns.size() / 2].rotation;
  out.end = turns[last].rotation;
  out.out_of_equilibrium = static_cast<double>(off) / static_cast<double>(rates.size());
  out.decay_cannot_act = 2.0 * sum < 0.5;
  return out;
}

}  // namespace scalevec::theory
