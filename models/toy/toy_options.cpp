#include "models/toy/toy_options.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

#include "optim/core/scale_form.hpp"

namespace scalevec::models {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

ToyField count(std::string_view key, std::int64_t* value) { return {key, value, 1, 1 << 30, false, {}}; }
ToyField number(std::string_view key, double* value) { return {key, value, -kInfinity, kInfinity, false, {}}; }
ToyField positive(std::string_view key, double* value) { return {key, value, 0, kInfinity, true, {}}; }
ToyField nonnegative(std::string_view key, double* value) { return {key, value, 0, kInfinity, false, {}}; }
ToyField flag(std::string_view key, bool* value) { return {key, value, 0, 0, false, {}}; }
ToyField word(std::string_view key, std::string* value, std::vector<std::string> words) {
  return {key, value, 0, 0, false, std::move(words)};
}

template <class T>
std::string bad(std::string_view key, const T& value, const std::string& allowed) {
  std::ostringstream out;
  out << key << ": got " << value << "; allowed: " << allowed;
  return out.str();
}

std::string range_text(const ToyField& f) {
  std::ostringstream out;
  if (std::isinf(f.low)) return "a finite number";
  if (std::isinf(f.high))
    out << (f.low_open ? "more than " : "at least ") << f.low;
  else
    out << "from " << f.low << " to " << f.high;
  return out.str();
}

std::string field_error(const ToyField& f) {
  const auto within = [&](double x) {
    return std::isfinite(x) && (f.low_open ? x > f.low : x >= f.low) && x <= f.high;
  };
  if (const auto* n = std::get_if<std::int64_t*>(&f.value))
    return within(static_cast<double>(**n)) ? "" : bad(f.key, **n, range_text(f));
  if (const auto* x = std::get_if<double*>(&f.value)) return within(**x) ? "" : bad(f.key, **x, range_text(f));
  if (const auto* list = std::get_if<std::vector<double>*>(&f.value)) {
    for (const double x : **list)
      if (!within(x)) return bad(f.key, x, range_text(f));
    return (*list)->empty() ? bad(f.key, "[]", "at least one number") : "";
  }
  if (const auto* text = std::get_if<std::string*>(&f.value)) {
    if (std::find(f.words.begin(), f.words.end(), **text) != f.words.end()) return "";
    std::string allowed;
    for (const std::string& w : f.words) allowed += (allowed.empty() ? "" : ", ") + w;
    return bad(f.key, **text, allowed);
  }
  return "";
}

// What no field can say alone.
std::string relation_error(const BranchScalesOptions& o) {
  if (o.targets.size() == o.curvatures.size()) return "";
  return bad("targets", std::to_string(o.targets.size()) + " numbers",
             "as many as curvatures, " + std::to_string(o.curvatures.size()));
}
std::string relation_error(const PlacementOptions& o) {
  return o.scales == "both_normed" && o.init_std == 0.0
             ? bad("init_std", o.init_std, "more than 0 with scales both_normed, since a norm follows W")
             : "";
}
template <class Options>
std::string relation_error(const Options&) {
  return "";
}

template <class... Options>
std::vector<ToyOptions> all_defaults(const std::variant<Options...>*) {
  return {Options{}...};
}

const std::vector<ToyOptions>& defaults() {
  static const std::vector<ToyOptions> all = all_defaults(static_cast<const ToyOptions*>(nullptr));
  return all;
}

}  // namespace

std::vector<ToyField> OutputScaleOptions::fields() {
  return {count("replicas", &replicas), positive("curvature", &curvature), number("target", &target),
          nonnegative("sigma", &sigma), number("initial", &initial)};
}

std::vector<ToyField> InputScaleOptions::fields() {
  return {count("rows", &rows),        count("replicas", &replicas),      positive("curvature", &curvature),
          number("target", &target),   nonnegative("sigma", &sigma),      flag("scale", &scale),
          number("initial", &initial), nonnegative("init_std", &init_std)};
}

std::vector<ToyField> BranchScalesOptions::fields() {
  return {{"curvatures", &curvatures, 0, kInfinity, true, {}},
          {"targets", &targets, -kInfinity, kInfinity, false, {}},
          flag("own", &own),
          count("replicas", &replicas),
          nonnegative("sigma", &sigma),
          number("initial", &initial),
          nonnegative("init_std", &init_std)};
}

std::vector<ToyField> PlacementOptions::fields() {
  return {count("rows", &rows),
          count("columns", &columns),
          count("replicas", &replicas),
          word("scales", &scales, {"none", "input", "both", "both_normed"}),
          word("target", &target, {"full", "rank_one"}),
          {"spread", &spread, 1, kInfinity, false, {}},
          positive("curvature", &curvature),
          nonnegative("sigma", &sigma),
          nonnegative("init_std", &init_std)};
}

std::vector<ToyField> MagnitudeDirectionOptions::fields() {
  return {count("size", &size),
          word("form", &form, scale_form_words()),
          positive("curvature", &curvature),
          positive("magnitude_curvature", &magnitude_curvature),
          positive("target", &target),
          nonnegative("tilt", &tilt),
          nonnegative("sigma", &sigma)};
}

std::vector<ToyField> ScaleInvariantOptions::fields() {
  return {count("rows", &rows), count("columns", &columns), nonnegative("signal", &signal),
          nonnegative("sigma", &sigma), positive("init_std", &init_std)};
}

std::vector<ToyField> SpectrumOptions::fields() {
  return {count("modes", &modes),
          nonnegative("a", &a),
          number("b", &b),
          positive("target", &target),
          flag("scale", &scale),
          number("initial", &initial),
          number("initial_weight", &initial_weight),
          nonnegative("sigma", &sigma)};
}

const std::vector<std::string>& toy_types() {
  static const std::vector<std::string> types = [] {
    std::vector<std::string> out;
    for (const ToyOptions& o : defaults()) out.emplace_back(toy_type(o));
    return out;
  }();
  return types;
}

ToyOptions toy_defaults(std::string_view type) {
  for (const ToyOptions& o : defaults())
    if (toy_type(o) == type) return o;
  throw std::invalid_argument("no toy model named " + std::string(type));
}

std::string_view toy_type(const ToyOptions& options) {
  return std::visit([](const auto& o) -> std::string_view { return o.type; }, options);
}

std::vector<ToyField> toy_fields(ToyOptions& options) {
  return std::visit([](auto& o) { return o.fields(); }, options);
}

std::string toy_error(const ToyOptions& options) {
  ToyOptions copy = options;
  for (const ToyField& f : toy_fields(copy))
    if (const std::string error = field_error(f); !error.empty()) return error;
  return std::visit([](const auto& o) { return relation_error(o); }, options);
}

}  // namespace scalevec::models
