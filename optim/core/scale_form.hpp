#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The forms of a scale vector: how γ ∈ R^d is computed from its parameters, a ∈ R^d and for some a magnitude m (T8 in
// docs/theory.md). A form is a struct below and its name in the list: models, theory, simulation and JSON follow.
namespace scalevec {

#define SCALEVEC_SCALE_FORMS(X) \
  X(plain)                      \
  X(zero_centred)               \
  X(exponential)                \
  X(original)                   \
  X(product)                    \
  X(exponential_radial)         \
  X(exponential_sum)            \
  X(exponential_product)

// For JJᵀ, J = ∂γ/∂(m, a), at one place: m, a, ‖a‖ and γ.
struct ScalePoint {
  double m;
  const std::vector<double>& a;
  double length;
  const std::vector<double>& gamma;

  double dimension() const { return static_cast<double>(a.size()); }
  double along(std::size_t i, std::size_t j) const { return (a[i] / length) * (a[j] / length); }
  double sum() const {
    double total = 0.0;
    for (const double x : a) total += x;
    return total;
  }
};

// What a struct holds:
//   word               in JSON
//   vector, magnitude  last part of the parameters' names; magnitude empty: the form has none
//   positive           γ > 0 for all parameters
//   start(x)           (a, m) with which every element of γ is x
//   map(a, m, ops)     γ. a: values with arithmetic and exp(); ops.radial(a, m, e): m√d a/‖a‖, with e^m in place of m
//   if e inverse(γ, ops)    ops.parts(a, m) that make γ; ops has rms(γ), mean(a), one() and parts(a), each of them an m
//   gram(p, i, j)      an element of JJᵀ
//   conserved(p)       what the flow of any loss of γ conserves; nothing: nothing
namespace forms {

struct WithoutMagnitude {
  static constexpr std::string_view magnitude = "";
  static std::optional<double> conserved(const ScalePoint&) { return std::nullopt; }
};

// γ = a.
struct plain : WithoutMagnitude {
  static constexpr std::string_view word = "plain", vector = "gamma";
  static constexpr bool positive = false;
  static std::pair<double, double> start(double x) { return {x, 0.0}; }
  template <class V, class M, class Ops>
  static V map(const V& a, const M&, const Ops&) {
    return a;
  }
  template <class V, class Ops>
  static auto inverse(const V& gamma, const Ops& ops) {
    return ops.parts(gamma);
  }
  static double gram(const ScalePoint&, std::size_t i, std::size_t j) { return i == j ? 1.0 : 0.0; }
};

// γ = 1 + δ (Gemma).
struct zero_centred : plain {
  static constexpr std::string_view word = "zero_centred", vector = "delta";
  static std::pair<double, double> start(double x) { return {x - 1.0, 0.0}; }
  template <class V, class M, class Ops>
  static V map(const V& a, const M&, const Ops&) {
    return a + 1.0;
  }
  template <class V, class Ops>
  static auto inverse(const V& gamma, const Ops& ops) {
    return ops.parts(gamma - 1.0);
  }
};

// γ = e^a, elementwise.
struct exponential : WithoutMagnitude {
  static constexpr std::string_view word = "exp", vector = "log_gamma";
  static constexpr bool positive = true;
  static std::pair<double, double> start(double x) { return {std::log(x), 0.0}; }
  template <class V, class M, class Ops>
  static V map(const V& a, const M&, const Ops&) {
    return exp(a);
  }
  template <class V, class Ops>
  static auto inverse(const V& gamma, const Ops& ops) {
    return ops.parts(log(gamma));
  }
  static double gram(const ScalePoint& p, std::size_t i, std::size_t j) {
    return i == j ? p.gamma[i] * p.gamma[i] : 0.0;
  }
};

// γ = β√d α/‖α‖ (OR; our reading of the paper).
struct original {
  static constexpr std::string_view word = "or", vector = "alpha", magnitude = "beta";
  static constexpr bool positive = false;
  static std::pair<double, double> start(double x) { return {1.0, x}; }
  template <class V, class M, class Ops>
  static V map(const V& a, const M& m, const Ops& ops) {
    return ops.radial(a, m, false);
  }
  template <class V, class Ops>
  static auto inverse(const V& gamma, const Ops& ops) {
    const auto rms = ops.rms(gamma);
    return ops.parts(gamma / rms, rms);
  }
  static double gram(const ScalePoint& p, std::size_t i, std::size_t j) {
    const double d = p.dimension(), each = p.m / p.length, along = p.along(i, j);
    return d * along + d * each * (each * ((i == j ? 1.0 : 0.0) - along));
  }
  static std::optional<double> conserved(const ScalePoint& p) { return p.length * p.length; }
};

// γ = βα.
struct product {
  static constexpr std::string_view word = "product", vector = "alpha", magnitude = "beta";
  static constexpr bool positive = false;
  static std::pair<double, double> start(double x) { return {1.0, x}; }
  template <class V, class M, class Ops>
  static V map(const V& a, const M& m, const Ops&) {
    return m * a;
  }
  template <class V, class Ops>
  static auto inverse(const V& gamma, const Ops& ops) {
    return original::inverse(gamma, ops);
  }
  static double gram(const ScalePoint& p, std::size_t i, std::size_t j) {
    return p.m * p.m * (i == j ? 1.0 : 0.0) + p.a[i] * p.a[j];
  }
  static std::optional<double> conserved(const ScalePoint& p) {
    return (std::abs(p.m) - p.length) * (std::abs(p.m) + p.length);
  }
};

// γ = e^b √d α/‖α‖ (ER; our reading of the paper).
struct exponential_radial {
  static constexpr std::string_view word = "er", vector = "alpha", magnitude = "log_beta";
  static constexpr bool positive = true;
  static std::pair<double, double> start(double x) { return {1.0, std::log(x)}; }
  template <class V, class M, class Ops>
  static V map(const V& a, const M& m, const Ops& ops) {
    return ops.radial(a, m, true);
  }
  template <class V, class Ops>
  static auto inverse(const V& gamma, const Ops& ops) {
    const auto rms = ops.rms(gamma);
    return ops.parts(gamma / rms, log(rms));
  }
  static double gram(const ScalePoint& p, std::size_t i, std::size_t j) {
    const double along = p.along(i, j);
    return p.dimension() * std::exp(2.0 * p.m) * (along + ((i == j ? 1.0 : 0.0) - along) / p.length / p.length);
  }
  static std::optional<double> conserved(const ScalePoint& p) { return p.length * p.length; }
};

// γ = e^(b + a).
struct exponential_sum {
  static constexpr std::string_view word = "exp_sum", vector = "log_alpha", magnitude = "log_beta";
  static constexpr bool positive = true;
  static std::pair<double, double> start(double x) { return {0.0, std::log(x)}; }
  template <class V, class M, class Ops>
  static V map(const V& a, const M& m, const Ops&) {
    return exp(m + a);
  }
  template <class V, class Ops>
  static auto inverse(const V& gamma, const Ops& ops) {
    const auto logs = log(gamma);
    const auto mean = ops.mean(logs);
    return ops.parts(logs - mean, mean);
  }
  static double gram(const ScalePoint& p, std::size_t i, std::size_t j) {
    return p.gamma[i] * p.gamma[j] * ((i == j ? 1.0 : 0.0) + 1.0);
  }
  static std::optional<double> conserved(const ScalePoint& p) { return p.m - p.sum(); }
};

// γ = e^(βa).
struct exponential_product {
  static constexpr std::string_view word = "exp_product", vector = "log_alpha", magnitude = "beta";
  static constexpr bool positive = true;
  static std::pair<double, double> start(double x) { return {std::log(x), 1.0}; }
  template <class V, class M, class Ops>
  static V map(const V& a, const M& m, const Ops&) {
    return exp(m * a);
  }
  template <class V, class Ops>
  static auto inverse(const V& gamma, const Ops& ops) {
    return ops.parts(log(gamma), ops.one());
  }
  static double gram(const ScalePoint& p, std::size_t i, std::size_t j) {
    return p.gamma[i] * p.gamma[j] * product::gram(p, i, j);
  }
  static std::optional<double> conserved(const ScalePoint& p) { return product::conserved(p); }
};

}  // namespace forms

#define SCALEVEC_ENUMERATOR(name) name,
enum class ScaleForm { SCALEVEC_SCALE_FORMS(SCALEVEC_ENUMERATOR) };
#undef SCALEVEC_ENUMERATOR

// body(the struct of `form`).
template <class F>
auto with_form(ScaleForm form, const F& body) {
  switch (form) {
#define SCALEVEC_CASE(name) \
  case ScaleForm::name:     \
    return body(forms::name());
    SCALEVEC_SCALE_FORMS(SCALEVEC_CASE)
#undef SCALEVEC_CASE
  }
  return body(forms::plain());
}

// The word in JSON: "plain", "zero_centred", "exp", "or", …
inline std::string_view to_string(ScaleForm form) {
  return with_form(form, [](auto f) { return f.word; });
}

// The words of all forms, in the order of the enumeration.
inline const std::vector<std::string>& scale_form_words() {
#define SCALEVEC_WORD(name) std::string(forms::name::word),
  static const std::vector<std::string> words{SCALEVEC_SCALE_FORMS(SCALEVEC_WORD)};
#undef SCALEVEC_WORD
  return words;
}

// The form of a word; nothing for any other word.
inline std::optional<ScaleForm> parse_scale_form(std::string_view word) {
  for (std::size_t i = 0; i < scale_form_words().size(); ++i)
    if (scale_form_words()[i] == word) return static_cast<ScaleForm>(i);
  return std::nullopt;
}

// Whether it has two parameters, a magnitude and a direction.
inline bool has_magnitude(ScaleForm form) {
  return with_form(form, [](auto f) { return !f.magnitude.empty(); });
}

// γ > 0 for all parameters; an initial value must then be > 0 too.
inline bool is_positive(ScaleForm form) {
  return with_form(form, [](auto f) { return f.positive; });
}

}  // namespace scalevec
