#include "theory/reparameterisation.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>

#include "tests/support/catch.hpp"
#include "theory/integrate.hpp"
#include "theory/magnitude_direction.hpp"

using namespace scalevec;
using namespace scalevec::theory;

namespace {

using Form = ScaleForm;
using State = std::vector<double>;
constexpr Form kForms[] = {Form::plain,   Form::zero_centred,       Form::exponential,     Form::original,
                           Form::product, Form::exponential_radial, Form::exponential_sum, Form::exponential_product};

// T8's forms from their definitions; parameter 0 is the magnitude.
State gamma_of(Form form, const State& p) {
  double squares = 0.0;
  for (std::size_t j = 1; j < p.size(); ++j) squares += p[j] * p[j];
  const double root = std::sqrt(static_cast<double>(p.size() - 1) / squares);
  State out;
  for (std::size_t j = 1; j < p.size(); ++j) {
    if (form == Form::plain) out.push_back(p[j]);
    if (form == Form::zero_centred) out.push_back(1.0 + p[j]);
    if (form == Form::exponential) out.push_back(std::exp(p[j]));
    if (form == Form::original) out.push_back(p[0] * root * p[j]);
    if (form == Form::product) out.push_back(p[0] * p[j]);
    if (form == Form::exponential_radial) out.push_back(std::exp(p[0]) * root * p[j]);
    if (form == Form::exponential_sum) out.push_back(std::exp(p[0] + p[j]));
    if (form == Form::exponential_product) out.push_back(std::exp(p[0] * p[j]));
  }
  return out;
}

// Column q of J by a fourth-order difference.
State slope(Form form, const State& p, std::size_t q) {
  const auto at = [&](double by) {
    State moved = p;
    moved[q] += by;
    return gamma_of(form, moved);
  };
  const double e = 1e-3;
  const State a = at(e), b = at(-e), c = at(2 * e), d = at(-2 * e);
  State out;
  for (std::size_t j = 0; j < a.size(); ++j) out.push_back((8.0 * (a[j] - b[j]) - (c[j] - d[j])) / (12.0 * e));
  return out;
}

const State kStart{0.6, 0.8, -0.5, 1.1, 0.3};
State direction_of(const State& p) { return State(p.begin() + 1, p.end()); }

}  // namespace

TEST_CASE("T8: every form's JJᵀ is its Jacobian's", "[T8]") {
  for (const Form form : kForms) {
    const State gram = jacobian_gram(form, kStart[0], direction_of(kStart));
    State expected(16, 0.0);
    for (std::size_t q = 0; q < kStart.size(); ++q) {
      const State column = slope(form, kStart, q);
      for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t j = 0; j < 4; ++j) expected[i * 4 + j] += column[i] * column[j];
    }
    INFO("form " << static_cast<int>(form));
    for (std::size_t x = 0; x < 16; ++x) CHECK(std::abs(gram[x] - expected[x]) <= 1e-10);
    const State gamma = reparameterised(form, kStart[0], direction_of(kStart));
    for (std::size_t j = 0; j < 4; ++j) CHECK(std::abs(gamma[j] - gamma_of(form, kStart)[j]) <= 1e-15);
  }
}

TEST_CASE("T8: along and orthogonal to γ the forms have the table's amplifications, d = 1 included", "[T8]") {
  for (const std::size_t d : {std::size_t{1}, std::size_t{2}, std::size_t{64}}) {
    const State ones(d, 1.0), zeros(d, 0.0);
    const double dd = static_cast<double>(d);
    const auto quotient = [&](const State& gram, bool along) {
      State v(d, along ? 1.0 / std::sqrt(dd) : 0.0);
      if (!along) {
        v[0] = std::sqrt(0.5);
        v[1] = -v[0];
      }
      double sum = 0.0;
      for (std::size_t i = 0; i < d; ++i)
        for (std::size_t j = 0; j < d; ++j) sum += v[i] * gram[i * d + j] * v[j];
      return sum;
    };
    const auto expect = [&](Form form, double m, const State& a, double magnitude, double orthogonal) {
      const State gram = jacobian_gram(form, m, a);
      CHECK(std::abs(quotient(gram, true) - magnitude) <= 1e-12 * dd);
      if (d > 1) CHECK(std::abs(quotient(gram, false) - orthogonal) <= 1e-12 * dd);
    };
    expect(Form::plain, 0.0, ones, 1.0, 1.0);
    expect(Form::original, 1.0, ones, dd, 1.0);
    expect(Form::product, 1.0, ones, dd + 1.0, 1.0);
    expect(Form::exponential_radial, 0.0, ones, dd, 1.0);
    expect(Form::exponential_sum, 0.0, zeros, dd + 1.0, 1.0);
    expect(Form::exponential_product, 1.0, zeros, 1.0, 1.0);
    CHECK(or_amplification(dd, 1.0, dd).magnitude == dd);
    CHECK(er_amplification(dd, 0.0, dd).magnitude == dd);
  }
}

TEST_CASE("T8: the flow of a loss of γ conserves what the table says", "[T8]") {
  const State target{1.0, 0.4, 2.0, 0.7};
  for (const Form form : kForms) {
    if (form == Form::plain || form == Form::zero_centred || form == Form::exponential) continue;
    State p = kStart;
    const double before = conserved_quantity(form, p[0], direction_of(p));
    const auto flow = [&](const State& x, State& dx) {
      const State gamma = gamma_of(form, x);
      for (std::size_t q = 0; q < x.size(); ++q) {
        const State column = slope(form, x, q);
        dx[q] = 0.0;
        for (std::size_t j = 0; j < 4; ++j) dx[q] -= column[j] * (gamma[j] - target[j]);
      }
    };
    integrate_flow(flow, p, 2.0);
    INFO("form " << static_cast<int>(form));
    // The slopes are differences good to some 1e-12.
    CHECK(std::abs(conserved_quantity(form, p[0], direction_of(p)) - before) <= 1e-10);
    CHECK(std::abs(p[1] - kStart[1]) > 1e-3);
  }
}

TEST_CASE("T8: decay holds ER's RMS where the flow stops", "[T8]") {
  for (const double target : {0.3, 0.9, 1.0, 1.7, 4.0, 12.0})
    for (const double decay : {0.0, 1e-9, 0.5, 40.0}) {
      State b{0.0};
      const auto flow = [&](const State& x, State& dx) {
        dx[0] = -0.7 * 8.0 * (std::exp(x[0]) - target) * std::exp(x[0]) - decay * x[0];
      };
      integrate_flow(flow, b, 60.0);
      INFO("R " << target << " λ " << decay);
      CHECK(std::abs(er_rms_flow_equilibrium(0.7, 8.0, target, decay) - std::exp(b[0])) <= 1e-9);
    }
  CHECK(std::abs(er_rms_flow_equilibrium(1.0, 4.0, 2.0, 1e12) - 1.0) <= 1e-9);
  // One equilibrium up to R = 4e^{3/2}: what decay must be to hold b, hd(R − e^b)e^b/b, falls all the way, and beyond
  // it does not.
  const auto falls = [](double target) {
    double before = INFINITY;
    for (int i = 1; i < 20000; ++i) {
      const double b = std::log(target) * i / 20000.0, now = (target - std::exp(b)) * std::exp(b) / b;
      if (now >= before) return false;
      before = now;
    }
    return true;
  };
  for (const double target : {1.1, 4.0, 10.0, 17.0, 17.92}) CHECK(falls(target));
  for (const double target : {17.95, 20.0, 100.0}) CHECK(!falls(target));
}

// Adam without momentum on signals of their own, γ's direction (1, …, 1)/√d: speeds of the magnitude and of plain γ by
// plain loops over d coordinates, the second moments averaged over all steps. 4·10⁵ steps: standard errors below 2 %
// where the signal is at least .1 in the sum, so that 8 % is 4 of them.
TEST_CASE("T8: OR's amplification under Adam with unequal signals", "[T8]") {
  std::mt19937_64 random(18);
  std::normal_distribution<double> normal;
  const std::vector<State> cases = {
      State(16, 0.3), {3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}, {1.0, -0.4, 0.2, 0.5}, {30.0, 0.0}};
  for (const State& snr : cases) {
    const std::size_t d = snr.size();
    State square(d, 0.0), sum(d, 0.0);
    double whole = 0.0, whole_square = 0.0;
    const int steps = 200000;
    for (int t = 0; t < steps; ++t) {
      double along = 0.0;
      for (std::size_t i = 0; i < d; ++i) {
        const double g = snr[i] + normal(random);
        sum[i] += g;
        square[i] += g * g;
        along += g;
      }
      whole += along;
      whole_square += along * along;
    }
    double plain = 0.0;
    for (std::size_t i = 0; i < d; ++i) plain += sum[i] / std::sqrt(square[i] * steps);
    // γ moves √d times as far as β along (1, …, 1)/√d, and plain γ by the sum over √d.
    const double ratio = static_cast<double>(d) * whole / std::sqrt(whole_square * steps) / plain;
    CHECK(std::abs(or_adam_amplification(snr) / ratio - 1.0) <= 0.05);
  }
  CHECK(std::abs(or_adam_amplification(State(64, 0.3)) / or_adam_amplification(64.0, 0.3) - 1.0) <= 1e-14);
  State lone(256, 0.0);
  lone[7] = 1e6;
  CHECK(std::abs(or_adam_amplification(lone) / 256.0 - 1.0) <= 1e-3);
  lone[7] = 1e-300;
  CHECK(std::abs(or_adam_amplification(lone) / 16.0 - 1.0) <= 1e-12);
  CHECK_THROWS_AS(or_adam_amplification(State{}), std::domain_error);
  CHECK_THROWS_AS(or_adam_amplification(State(4, 0.0)), std::domain_error);
}

TEST_CASE("T8: arguments outside the domain are named", "[T8]") {
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const std::domain_error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(message([] { jacobian_gram(Form::original, NAN, {1.0}); }).starts_with("magnitude: got"));
  CHECK(message([] { jacobian_gram(Form::original, 1.0, {}); }).starts_with("direction: got"));
  CHECK(message([] { reparameterised(Form::exponential_radial, 1.0, {0.0, 0.0}); }).starts_with("direction: got"));
  CHECK(message([] { conserved_quantity(Form::plain, 1.0, {1.0}); }).starts_with("form: got"));
  CHECK(message([] { er_rms_flow_equilibrium(1.0, 2.0, 18.0, 0.1); }).starts_with("rms_target: got"));
  CHECK(message([] { er_rms_flow_equilibrium(1.0, 0.5, 2.0, 0.1); }).starts_with("d: got"));
}
