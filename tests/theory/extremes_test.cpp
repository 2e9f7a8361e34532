#include <algorithm>
#include <array>
#include <boost/math/special_functions/erf.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <boost/multiprecision/cpp_bin_float.hpp>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "tests/support/catch.hpp"
#include "theory/branches.hpp"
#include "theory/flow.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/magnitude_direction.hpp"
#include "theory/output_scale_decay.hpp"
#include "theory/placement.hpp"
#include "theory/reparameterisation.hpp"
#include "theory/scale_invariance.hpp"
#include "theory/spectra.hpp"

// Closed forms against 50 digits over ten decades of their arguments, and their limits.
using namespace scalevec;
using namespace scalevec::theory;

namespace {

using Wide = boost::multiprecision::cpp_bin_float_50;

double off(double got, const Wide& expected) {
  if (expected == 0) return std::abs(got);
  return static_cast<double>(abs(Wide(got) / expected - 1));
}

// The root of an increasing function in (0, end) by halving, to 45 digits of its size.
Wide root_below(const std::function<Wide(const Wide&)>& f, const Wide& end) {
  Wide low = 0, high = end;
  while (high - low > high * Wide("1e-45") && high > Wide("1e-400")) {
    const Wide middle = low == 0 ? Wide(high / 1e3) : Wide((low + high) / 2);
    (f(middle) > 0 ? high : low) = middle;
  }
  return (low + high) / 2;
}

class Draw {
 public:
  double size(double from, double to) {
    return std::pow(10.0, std::uniform_real_distribution<double>(from, to)(random_));
  }
  double either(double from, double to) {
    return (std::uniform_int_distribution<int>(0, 1)(random_) ? 1.0 : -1.0) * size(from, to);
  }

 private:
  std::mt19937_64 random_{11};
};

}  // namespace

TEST_CASE("a length splits into γ² and ‖w‖² with 12 digits at any imbalance", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 4000; ++i) {
    const double length = draw.size(-5, 5), k = i % 10 == 0 ? 0.0 : draw.either(-5, 5);
    const InputScaleEquilibrium at = split_length(length, k);
    const Wide r = length, root = sqrt(Wide(k) * k + 4 * r * r);
    INFO("length " << length << " k " << k);
    REQUIRE(off(at.gamma_sq, (root + k) / 2) <= 1e-12);
    REQUIRE(off(at.w_sq, (root - k) / 2) <= 1e-12);
    REQUIRE(off(top_curvature(2.0, length, k), 2 * root) <= 1e-12);
  }
}

TEST_CASE("T4's AdamW equilibrium keeps 12 digits", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 600; ++i) {
    InputScaleDecay p;
    p.h = draw.size(-3, 3);
    p.target = draw.size(-3, 3);
    p.decay_gamma = i % 10 == 0 ? 0.0 : draw.size(-5, 4);
    p.decay_w = draw.size(-5, 2);
    const double sigma = draw.size(-3, 3), lr = draw.size(-7, -1), rows = std::floor(draw.size(0, 4));
    // The three equations as they stand, in γ, to 50 digits: λ_w‖w‖² − ½cη falls with γ, λ_γγ‖w‖ rises.
    const Wide slow = Wide(sigma) * p.decay_w, noise = Wide(rows) * lr * sigma / 2;
    const auto mean = [&](const Wide& gamma) { return Wide(p.h * Wide(p.target) / (p.h * gamma + slow)); };
    const auto total = [&](const Wide& gamma) {
      return Wide(mean(gamma) * mean(gamma) + noise / (p.h * gamma + slow));
    };
    const auto rising = [&](const Wide& gamma) {
      return Wide(p.decay_gamma * gamma * sqrt(total(gamma)) - p.decay_w * total(gamma) + Wide(rows) * lr / 2);
    };
    Wide end = 1;
    while (rising(end) < 0) end *= 1000;
    const Wide gamma = root_below(rising, end), w = mean(gamma), gap = p.target - gamma * w;
    const AdamWInputScale got = adamw_input_scale(p, sigma, lr, rows);
    INFO("h " << p.h << " R " << p.target << " decays " << p.decay_gamma << ", " << p.decay_w << " sigma " << sigma
              << " lr " << lr << " rows " << rows);
    REQUIRE(off(got.at.gamma_sq, gamma * gamma) <= 1e-12);
    REQUIRE(off(got.at.length, gamma * w) <= 1e-12);
    REQUIRE(off(got.at.w_sq, total(gamma)) <= 1e-12);
    REQUIRE(off(got.bias, p.h * gap * gap / 2) <= 1e-12);
  }
}

TEST_CASE("times of the flow keep 12 digits where the states' differences do", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 4000; ++i) {
    // From 0 to a share of the target: the two differences of the states are exact.
    const Flow f{draw.size(-2, 2), draw.size(-5, 5), i % 10 == 0 ? 0.0 : draw.either(-5, 5), 0.0};
    const double relative = draw.size(-12, -0.1);
    if (f.imbalance == 0.0) continue;
    const Wide k = abs(Wide(f.imbalance)), target = f.target, left = sqrt(Wide(relative)) * target, to = target - left;
    const auto u = [&](const Wide& r) { return Wide(2 * r / k + sqrt(4 * r * r / (k * k) + 1)); };
    const Wide end = u(target), start = 1, now = u(to);
    const Wide rate = Wide(f.h) * sqrt(k * k + 4 * target * target);
    const Wide time = log((end - start) / (start + 1 / end) * (now + 1 / end) / (end - now)) / rate;
    INFO("h " << f.h << " R " << f.target << " k " << f.imbalance << " loss " << relative);
    REQUIRE(off(flow_time_to_loss(f, relative), time) <= 1e-12);
    REQUIRE(off(plain_time_to_loss(f.h, relative), -log(Wide(relative)) / (2 * Wide(f.h))) <= 1e-12);
  }
}

TEST_CASE("times to a loss keep 12 digits from a start next to the target", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 2000; ++i) {
    const double target = draw.size(-3, 3);
    const Flow f{draw.size(-2, 2), target, i % 10 == 0 ? 0.0 : draw.either(-5, 5),
                 target * (1.0 + draw.either(-12, -1))};
    const double relative = i % 2 == 0 ? draw.size(-12, -0.1) : 1.0 - draw.size(-14, -1);
    const Wide k = f.imbalance, start = f.initial, gap = target - start, left = sqrt(Wide(relative)) * gap;
    // From the gaps alone: (R − r)/r shrinks at the rate 2hR where k = 0, and D as T3 says elsewhere.
    Wide time;
    if (k == 0) {
      time = log(gap / start * (target - left) / left) / (2 * Wide(f.h) * target);
    } else {
      const auto u = [&](const Wide& r) { return Wide(2 * r / abs(k) + sqrt(4 * r * r / (k * k) + 1)); };
      const Wide end = u(target), at = u(start), now = u(target - left);
      time = log((end - at) / (at + 1 / end) * (now + 1 / end) / (end - now)) /
             (Wide(f.h) * sqrt(k * k + 4 * Wide(target) * target));
    }
    INFO("h " << f.h << " R " << target << " k " << f.imbalance << " r0 " << f.initial << " loss " << relative);
    REQUIRE(off(flow_time_to_loss(f, relative), time) <= 1e-12);
  }
}

TEST_CASE("elementary forms keep 12 digits over their whole domain", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 4000; ++i) {
    const double target = draw.size(-5, 5), d = draw.size(0, 10), s = draw.size(-5, 5), lr = draw.size(-6, 0),
                 decay = draw.size(-6, 2), beta = 1.0 - draw.size(-4, -0.01);
    const Wide wide_s = s, wide_d = d;
    REQUIRE(off(sign_descent_time(target), (sqrt(1 + 4 * Wide(target)) - 1) / 2) <= 1e-12);
    REQUIRE(off(sign_descent_speedup(target), (sqrt(1 + 4 * Wide(target)) + 1) / 2) <= 1e-12);
    REQUIRE(off(or_adam_amplification(d, s), sqrt((wide_s * wide_s + 1) / (wide_s * wide_s + 1 / wide_d))) <= 1e-12);
    REQUIRE(off(or_beta_flow_equilibrium(target, d, s, decay),
                Wide(target) * wide_d * wide_s / (Wide(target) * wide_d + decay)) <= 1e-12);
    const Wide eta = lr, lambda = decay, mu = beta;
    const Wide x = eta * lambda;
    if (lr * decay >= 1.0) {
      REQUIRE_THROWS_AS(adamw_rotation(lr, decay, beta, d + 1.0), std::domain_error);
      continue;
    }
    // Cosines and lengths as T9 states them, exact in x.
    const Wide kept = mu * (1 - x), longer = (1 - mu) * (1 + kept) / ((1 + mu) * (1 - kept) * (1 - x / 2)),
               angle = acos(Wide((1 + mu - x) / (1 + mu - mu * x))), coupled = acos(Wide(1 - x / (1 + mu)));
    const double width = d + 1.0;
    REQUIRE(off(adamw_rotation(lr, decay, beta, width).angle, angle) <= 1e-12);
    REQUIRE(off(adamw_rotation(lr, decay, beta, width).norm, sqrt(eta * width / (2 * lambda) * longer)) <= 1e-12);
    REQUIRE(off(sgd_decoupled_rotation(lr, decay, beta, s).angle, angle) <= 1e-12);
    REQUIRE(off(sgd_decoupled_rotation(lr, decay, beta, s).norm,
                pow(eta * wide_s * wide_s / (2 * lambda * (1 - mu) * (1 - mu)) * longer, Wide(1) / 4)) <= 1e-12);
    REQUIRE(off(sgd_coupled_rotation(lr, decay, beta, s).angle, coupled) <= 1e-12);
    REQUIRE(off(sgd_coupled_rotation(lr, decay, beta, s).norm,
                pow(eta * wide_s * wide_s / (2 * lambda * (1 - mu)) / (1 - x / (2 * (1 + mu))), Wide(1) / 4)) <= 1e-12);
  }
}

TEST_CASE("T5's equilibria keep 12 digits of the offset over ten decades", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 600; ++i) {
    OutputScaleDecay p;
    p.h = draw.size(-5, 5);
    p.target = draw.either(-5, 5);
    p.sigma = draw.size(-5, 5);
    p.weight_decay = draw.size(-6, 4);
    p.decay_target = i % 2 == 0 ? 0.0 : draw.either(-5, 5);
    const Wide h = p.h, sigma = p.sigma, decay = p.weight_decay, signed_distance = Wide(p.target) - p.decay_target;
    const Wide distance = abs(signed_distance), side = signed_distance > 0 ? 1 : -1;
    INFO("h " << p.h << " target " << p.target << " sigma " << p.sigma << " decay " << p.weight_decay << " to "
              << p.decay_target);
    REQUIRE(off(flow_equilibrium(p).offset, decay * signed_distance / (h + decay)) <= 1e-12);
    const Wide adamw = root_below(
        [&](const Wide& d) { return Wide(h * d / sqrt(h * h * d * d + sigma * sigma) - decay * (distance - d)); },
        distance);
    REQUIRE(off(adamw_equilibrium(p).offset, side * adamw) <= 1e-12);
    const Wide sign = root_below(
        [&](const Wide& d) {
          return Wide(boost::math::erf(Wide(h * d / sigma / sqrt(Wide(2)))) - decay * (distance - d));
        },
        distance);
    REQUIRE(off(sign_sgd_equilibrium(p).offset, side * sign) <= 1e-12);
    const double start = draw.either(-5, 5), t = draw.size(-6, 6);
    const Wide settled = (h * p.target + decay * p.decay_target) / (h + decay);
    const Wide at = settled + (Wide(start) - settled) * exp(-(h + decay) * Wide(t));
    REQUIRE(abs(Wide(flow_gamma(p, start, t)) - at) <= 1e-12 * (abs(settled) + abs(Wide(start)) + abs(Wide(p.target))));
  }
}

TEST_CASE("T7's rates keep 12 digits of the size of their terms, whatever the scales", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 500; ++i) {
    TwoSided m{3, 2, std::vector<double>(3), std::vector<double>(2), std::vector<double>(6), std::vector<double>(6)};
    for (std::vector<double>* part : {&m.u, &m.v, &m.w, &m.g})
      for (double& x : *part) x = draw.either(-5, 5);
    const auto u = [&](std::size_t r) { return Wide(m.u[r]); };
    const auto v = [&](std::size_t c) { return Wide(m.v[c]); };
    const auto w = [&](std::size_t r, std::size_t c) { return Wide(m.w[r * 2 + c]); };
    const auto g = [&](std::size_t r, std::size_t c) { return Wide(m.g[r * 2 + c]); };
    // Sums of one sign for the two squares, and for the sizes that the sums with cancellation are held to.
    Wide entries = 0, entries_abs = 0, rows = 0, rows_abs = 0, columns = 0, columns_abs = 0, size_sq = 0, size_abs = 0;
    for (std::size_t r = 0; r < 3; ++r) {
      Wide sum = 0, size = 0;
      for (std::size_t c = 0; c < 2; ++c) {
        entries += pow(u(r) * v(c) * g(r, c), 2);
        entries_abs += abs(u(r) * v(c) * g(r, c));
        sum += w(r, c) * v(c) * g(r, c);
        size += abs(w(r, c) * v(c) * g(r, c));
      }
      rows += sum * sum;
      rows_abs += abs(sum);
      size_sq += size * size;
      size_abs += size;
    }
    for (std::size_t c = 0; c < 2; ++c) {
      Wide sum = 0, size = 0;
      for (std::size_t r = 0; r < 3; ++r) {
        sum += u(r) * w(r, c) * g(r, c);
        size += abs(u(r) * w(r, c) * g(r, c));
      }
      columns += sum * sum;
      columns_abs += abs(sum);
      size_sq += size * size;
      size_abs += size;
    }
    const Wide all_sq = entries + size_sq, all_abs = entries_abs + size_abs;
    REQUIRE(abs(Wide(both_sides_flow_rate(m)) - (entries + rows + columns)) <= 1e-12 * all_sq);
    REQUIRE(abs(Wide(input_side_flow_rate(m)) - (entries + columns)) <= 1e-12 * all_sq);
    REQUIRE(abs(Wide(both_sides_sign_rate(m)) - (entries_abs + rows_abs + columns_abs)) <= 1e-12 * all_abs);
    REQUIRE(abs(Wide(input_side_sign_rate(m)) - (entries_abs + columns_abs)) <= 1e-12 * all_abs);
    for (std::size_t r = 0; r < 3; ++r) {
      const Wide squares = w(r, 0) * w(r, 0) + w(r, 1) * w(r, 1);
      REQUIRE(abs(Wide(row_imbalances(m)[r]) - (u(r) * u(r) - squares)) <= 1e-12 * (u(r) * u(r) + squares));
    }
    for (std::size_t c = 0; c < 2; ++c) {
      const Wide squares = w(0, c) * w(0, c) + w(1, c) * w(1, c) + w(2, c) * w(2, c);
      REQUIRE(abs(Wide(column_imbalances(m)[c]) - (v(c) * v(c) - squares)) <= 1e-12 * (v(c) * v(c) + squares));
    }
  }
}

TEST_CASE("T10's losses and gains keep 12 digits from t = 1e-6 to 1e6, for few modes and for many", "[extremes]") {
  Draw draw;
  int compared = 0;
  for (int i = 0; i < 1500; ++i) {
    const double a = (i % 3 == 0 ? 0.01 : 0.3) + draw.size(-1, 0.5), b = (1.0 - a) / 2.0 + draw.size(-2, 0.3),
                 t = draw.size(-6, 6);
    const PowerLawModes m{a, b, std::round(draw.size(0.5, 9)), draw.size(-5, 5)};
    INFO("a " << a << " b " << b << " N " << m.modes << " R0 " << m.target << " t " << t);
    const Wide p = (Wide(a) + 2 * Wide(b) - 1) / a, near = 2 * Wide(t), far = near * pow(Wide(m.modes), -Wide(a));
    const double got = plain_spectrum_loss(m, t);
    REQUIRE(std::isfinite(got));
    REQUIRE(got >= 0.0);
    REQUIRE(off(plain_exponent(m), p) <= 1e-12 * (1.0 + 1.0 / static_cast<double>(p)));
    if (far < 100) {
      const Wide integral = far > p ? Wide(boost::math::tgamma(p, far) - boost::math::tgamma(p, near))
                                    : Wide(boost::math::tgamma_lower(p, near) - boost::math::tgamma_lower(p, far));
      REQUIRE(off(got, Wide(m.target) * m.target * pow(near, -p) / (2 * Wide(a)) * integral) <=
              1e-12 * (1.0 + 1.0 / static_cast<double>(p)));
      ++compared;
    }
    if (b <= 0.0) continue;
    const Wide q = (Wide(a) + 4 * Wide(b) - 1) / a, gamma_q = boost::math::tgamma(q);
    const Wide i_q = boost::math::tgamma(Wide(q + 1)) * pow(Wide(2), -q - 1) -
                     Wide(3) / 2 * gamma_q * pow(Wide(2), -q) + 2 * gamma_q * pow(Wide(3), -q) -
                     gamma_q * pow(Wide(4), -q) / 2;
    const Wide gain =
        Wide(m.target) * m.target * 4 * i_q * pow(Wide(2), p) / boost::math::tgamma(p) * pow(Wide(t), -2 * Wide(b) / a);
    REQUIRE(off(scale_gain(m, t), gain) <= 1e-12);
  }
  CHECK(compared > 1000);
}

// The least or largest eigenvalue of a symmetric matrix by counting, through Sylvester's law, how many lie below a
// number.
Wide extreme_eigenvalue(const std::vector<std::vector<Wide>>& matrix, bool largest) {
  const std::size_t n = matrix.size();
  const auto below = [&](const Wide& at) {
    std::vector<std::vector<Wide>> m = matrix;
    std::size_t negative = 0;
    for (std::size_t k = 0; k < n; ++k) m[k][k] -= at;
    for (std::size_t k = 0; k < n; ++k) {
      negative += m[k][k] < 0;
      for (std::size_t i = k + 1; i < n; ++i) {
        const Wide factor = m[i][k] / m[k][k];
        for (std::size_t j = k + 1; j < n; ++j) m[i][j] -= factor * m[k][j];
      }
    }
    return negative;
  };
  Wide low = 0, high = 0;
  for (std::size_t k = 0; k < n; ++k) high += matrix[k][k];
  high *= 2;
  while (high - low > high * Wide("1e-22")) {
    const Wide middle = low == 0 ? Wide(high / 1e3) : Wide((low + high) / 2);
    (below(middle) >= (largest ? n : 1) ? high : low) = middle;
  }
  return (low + high) / 2;
}

TEST_CASE("T6's condition numbers and equilibria keep 12 digits however far apart the branches", "[extremes]") {
  Draw draw;
  for (int i = 0; i < 150; ++i) {
    Branches b;
    const double k = draw.either(-5, 5), decay = draw.size(-6, 6);
    Wide length_sq = 0, least = -1, most = 0;
    for (int c = 0; c < 1 + i % 5; ++c) {
      b.h.push_back(c == 2 ? b.h[0] : draw.size(-5, 5));
      b.target.push_back(c == 3 ? 0.0 : draw.either(-5, 5));
      length_sq += Wide(b.target.back()) * b.target.back();
      const Wide rate = b.h.back() * sqrt(Wide(k) * k + 4 * Wide(b.target.back()) * b.target.back());
      if (least < 0 || rate < least) least = rate;
      if (rate > most) most = rate;
    }
    const std::size_t count = b.h.size();
    const Wide gamma_sq = (k + sqrt(Wide(k) * k + 4 * length_sq)) / 2;
    std::vector<std::vector<Wide>> m(count, std::vector<Wide>(count));
    for (std::size_t x = 0; x < count; ++x)
      for (std::size_t y = 0; y < count; ++y)
        m[x][y] =
            sqrt(Wide(b.h[x]) * b.h[y]) * ((x == y ? gamma_sq : Wide(0)) + Wide(b.target[x]) * b.target[y] / gamma_sq);
    INFO("case " << i << ", k " << k);
    REQUIRE(off(own_curvatures(b, k).largest, most) <= 1e-13);
    REQUIRE(off(own_curvatures(b, k).least, least) <= 1e-13);
    REQUIRE(off(shared_curvatures(b, k).largest, extreme_eigenvalue(m, true)) <= 1e-13);
    REQUIRE(off(shared_curvatures(b, k).least, extreme_eigenvalue(m, false)) <= 1e-13);
    for (std::size_t c = 0; c < count; ++c) {
      const Wide size = abs(Wide(b.target[c])), kept = size - Wide(decay) / b.h[c];
      REQUIRE(abs(abs(Wide(own_decay_equilibrium(b, decay)[c])) - (kept > 0 ? kept : Wide(0))) <= 1e-12 * size);
    }
    b.h.assign(count, b.h[0]);
    const Wide share = 1 - Wide(decay) / (b.h[0] * sqrt(length_sq));
    for (std::size_t c = 0; c < count; ++c)
      REQUIRE(abs(Wide(shared_decay_equilibrium(b, decay)[c]) - (share > 0 ? share * b.target[c] : Wide(0))) <=
              1e-12 * abs(Wide(b.target[c])));
  }
}

TEST_CASE("T8's Jacobians and ER's equilibrium keep 12 digits", "[extremes]") {
  using Form = ScaleForm;
  Draw draw;
  for (int i = 0; i < 300; ++i) {
    const std::size_t d = 1 + static_cast<std::size_t>(i % 4);
    std::vector<double> a;
    Wide squares = 0;
    for (std::size_t j = 0; j < d; ++j) {
      a.push_back(draw.either(-5, 5));
      squares += Wide(a[j]) * a[j];
    }
    const double m = draw.either(-5, 5);
    for (const Form form : {Form::plain, Form::original, Form::product, Form::exponential_radial, Form::exponential_sum,
                            Form::exponential_product}) {
      // Exponents up to 30, so that e^{2x} stays within double precision and keeps 12 digits.
      const bool exponents = form == Form::exponential_sum || form == Form::exponential_product;
      const double mag = form == Form::exponential_radial || exponents ? std::clamp(m, -5.0, 5.0) : m;
      std::vector<double> dir = a;
      if (exponents)
        for (double& x : dir) x = std::clamp(x, -5.0, 5.0);
      // J, d × (1 + d), from the definitions; root = √d/‖a‖.
      const Wide root = sqrt(Wide(static_cast<double>(d)) / squares), wide_m = mag;
      std::vector<std::vector<Wide>> jacobian(d, std::vector<Wide>(1 + d, Wide(0)));
      for (std::size_t j = 0; j < d; ++j) {
        const Wide x = dir[j], factor = form == Form::exponential_radial ? Wide(exp(wide_m)) : wide_m;
        if (form == Form::original) jacobian[j][0] = root * x;
        if (form == Form::exponential_radial) jacobian[j][0] = exp(wide_m) * root * x;
        if (form == Form::product) jacobian[j][0] = x;
        if (form == Form::exponential_sum) jacobian[j][0] = exp(wide_m + x);
        if (form == Form::exponential_product) jacobian[j][0] = x * exp(wide_m * x);
        for (std::size_t q = 0; q < d; ++q) {
          if (form == Form::original || form == Form::exponential_radial)
            jacobian[j][1 + q] = factor * root * ((j == q ? Wide(1) : Wide(0)) - x * Wide(dir[q]) / squares);
          else if (j == q)
            jacobian[j][1 + q] = form == Form::plain             ? Wide(1)
                                 : form == Form::product         ? wide_m
                                 : form == Form::exponential_sum ? Wide(exp(wide_m + x))
                                                                 : Wide(wide_m * exp(wide_m * x));
        }
      }
      std::vector<Wide> gram(d * d, Wide(0));
      Wide largest = 0;
      for (std::size_t x = 0; x < d; ++x)
        for (std::size_t y = 0; y < d; ++y) {
          for (std::size_t q = 0; q <= d; ++q) gram[x * d + y] += jacobian[x][q] * jacobian[y][q];
          if (abs(gram[x * d + y]) > largest) largest = abs(gram[x * d + y]);
        }
      const std::vector<double> got = jacobian_gram(form, mag, dir);
      INFO("case " << i << " form " << static_cast<int>(form) << " d " << d);
      for (std::size_t e = 0; e < gram.size(); ++e) REQUIRE(abs(Wide(got[e]) - gram[e]) <= 1e-12 * largest);
    }
    const double h = draw.size(-3, 3), count = std::floor(draw.size(0, 6)),
                 target = std::min(17.9, draw.size(-5, 1.26)), decay = draw.size(-6, 6);
    const Wide end = log(Wide(target)), pull = Wide(h) * count;
    // From the root's end at ln R to 0: the pull outward less the decay's, as shares of ln R.
    const auto inward = [&](const Wide& share) {
      const Wide b = share * end, outward = -pull * (exp(b) - target) * exp(b) - Wide(decay) * b;
      return end > 0 ? Wide(-outward) : outward;
    };
    const Wide share = root_below(inward, 1);
    INFO("h " << h << " d " << count << " R " << target << " decay " << decay);
    REQUIRE(off(er_rms_flow_equilibrium(h, count, target, decay), exp(share * end)) <= 1e-12);
    const double b = std::clamp(m, -5.0, 5.0), alpha_sq = draw.size(-5, 5);
    REQUIRE(off(er_amplification(count, b, alpha_sq).magnitude, count * exp(2 * Wide(b))) <= 1e-12);
    REQUIRE(off(er_amplification(count, b, alpha_sq).orthogonal, count * exp(2 * Wide(b)) / alpha_sq) <= 1e-12);
    REQUIRE(off(or_amplification(count, m, alpha_sq).orthogonal, Wide(m) * m * count / alpha_sq) <= 1e-12);
    REQUIRE(off(product_amplification(m, alpha_sq).magnitude, Wide(m) * m + alpha_sq) <= 1e-12);
  }
}

TEST_CASE("roots and exponents far outside the usual keep their values", "[extremes]") {
  // Signs of values whose product vanishes.
  CHECK(off(adamw_equilibrium({1e-170, 2.0, 1.0, 1e-170, 0.0}).offset, Wide(1)) <= 1e-12);  // h d = λ(2 − d)
  CHECK(std::isfinite(sign_sgd_equilibrium({1.0, 1e-170, 1.0, 1.0, 0.0}).offset));
  CHECK(std::isfinite(er_rms_flow_equilibrium(1e-170, 1.0, 2.0, 1e-170)));
  // By ∫ v^{p−1} e^{−2tv} dv over (N^−a, 1) of 50 digits: its lower end does not count.
  for (const auto& [a, b, n, r, t] :
       {std::array{1.0, 1000.0, 1e6, 1.0, 1.0}, std::array{0.02, 25.0, 1e4, 1.0, 1.3},
        std::array{0.05, 27.0, 1e6, 1.0, 1.5e-7}, std::array{0.5, 300.0, 1e6, 2.0, 100.0}}) {
    const Wide p = (Wide(a) - 1 + 2 * Wide(b)) / a, x = 2 * Wide(t);
    Wide term = 1 / p, sum = term;
    for (int k = 1; term > sum * Wide("1e-40"); ++k) sum += term *= x / (p + k);
    INFO("a " << a << " b " << b << " t " << t);
    REQUIRE(off(plain_spectrum_loss({a, b, n, r}, t), Wide(r) * r / (2 * Wide(a)) * exp(-x) * sum) <= 1e-12);
  }
  const Wide q = 5e-12, ln2 = log(Wide(2));
  const Wide i_q = q / 2 + 2 * (exp(q * log(Wide(2) / 3)) - 1) - (exp(-q * ln2) - 1) / 2;
  // a = 1: p = 2b, q = 4b.
  const Wide gain = 4 * i_q * boost::math::tgamma(Wide(4 * Wide(1.25e-12))) /
                    boost::math::tgamma(Wide(2 * Wide(1.25e-12))) * exp(-2 * Wide(1.25e-12) * ln2) *
                    pow(Wide(10), -2 * Wide(1.25e-12));
  CHECK(off(scale_gain({1.0, 1.25e-12, 1e6, 1.0}, 10.0), gain) <= 1e-12);
}

TEST_CASE("limits are continuous: λ → 0, k → 0, R → 0, d = 1, s → ∞", "[extremes]") {
  const double tiny = 1e-13;
  const InputScaleEquilibrium lasso = group_lasso_equilibrium({1.0, 1.0, tiny, tiny});
  CHECK(std::abs(lasso.length - 1.0) <= 2.0 * tiny);
  CHECK(std::abs(lasso.gamma_sq - split_length(1.0, 0.0).gamma_sq) <= 2.0 * tiny);
  const AdamWInputScale none = adamw_input_scale({1.0, 1.0, 0.0, 0.1}, 1.0, 2e-3, 16.0);
  const AdamWInputScale little = adamw_input_scale({1.0, 1.0, tiny, 0.1}, 1.0, 2e-3, 16.0);
  CHECK(std::abs(none.at.gamma_sq - little.at.gamma_sq) <= 1e-9);
  CHECK(std::abs(none.bias - little.bias) <= 1e-12);
  const Branches b{{1.0, 1.0}, {0.3, -2.0}};
  CHECK(shared_decay_equilibrium(b, 0.0) == b.target);
  CHECK(own_decay_equilibrium(b, 0.0) == b.target);
  CHECK(std::abs(own_decay_equilibrium(b, tiny)[1] + 2.0) <= 2.0 * tiny);
  for (const double sign : {-1.0, 1.0}) {
    CHECK(std::abs(split_length(0.7, sign * tiny).gamma_sq - 0.7) <= tiny);
    CHECK(std::abs(own_curvatures(b, sign * 1e-9).condition_number() - own_curvatures(b, 0.0).condition_number()) <=
          1e-9);
  }
  CHECK(split_length(0.0, 0.0).gamma_sq == 0.0);
  CHECK(split_length(0.0, 2.0).w_sq == 0.0);
  CHECK(flow_time_to_loss({1.0, tiny, 1.0, 0.0}, 0.01) - plain_time_to_loss(1.0, 0.01) <= 1e-12);
  CHECK(or_adam_amplification(1.0, 1e-5) == 1.0);
  CHECK(or_adam_amplification(1e6, INFINITY) == 1.0);
  // One branch is the mode alone, shared or not.
  const Branches one{{2.0}, {1.5}};
  CHECK(shared_curvatures(one, 0.4).condition_number() == 1.0);
  CHECK(own_curvatures(one, 0.4).condition_number() == 1.0);
}
