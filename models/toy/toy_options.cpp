#include "models/toy/toy_options.hpp"

#include <stdexcept>

#include "optim/core/scale_form.hpp"

namespace scalevec::models {
namespace {

// Options of several toys, with their meaning.
Option replicas_option(std::int64_t* at) {
  return {"replicas", at, Range::between(1, 1 << 30), {}, "independent copies in one tensor"};
}
Option count(const char* key, std::int64_t* at, std::string_view meaning) {
  return {key, at, Range::between(1, 1 << 30), {}, meaning};
}
Option curvature_option(double* at) { return {"curvature", at, Range::above(0), {}, "h"}; }
Option sigma_option(double* at) {
  return {"sigma", at, Range::at_least(0), {}, "standard deviation of the gradient noise"};
}
Option initial_option(double* at) { return {"initial", at, {}, {}, "γ at step 0"}; }
Option init_std_option(double* at, Range range, std::string_view meaning) {
  return {"init_std", at, range, {}, meaning};
}

// What no field can say alone.
std::string relation_error(const BranchScalesOptions& o) {
  if (o.curvatures.empty()) return not_allowed("curvatures", "[]", "at least one number");
  if (o.targets.size() == o.curvatures.size()) return "";
  return not_allowed("targets", std::to_string(o.targets.size()) + " numbers",
                     "as many as curvatures, " + std::to_string(o.curvatures.size()));
}
std::string relation_error(const PlacementOptions& o) {
  return o.scales == "both_normed" && o.init_std == 0.0
             ? not_allowed("init_std", o.init_std, "more than 0 with scales both_normed, since a norm follows W")
             : "";
}
template <class Toy>
std::string relation_error(const Toy&) {
  return "";
}

template <class... Toys>
std::vector<ToyOptions> all_defaults(const std::variant<Toys...>*) {
  return {Toys{}...};
}

const std::vector<ToyOptions>& defaults() {
  static const std::vector<ToyOptions> all = all_defaults(static_cast<const ToyOptions*>(nullptr));
  return all;
}

}  // namespace

Options OutputScaleOptions::fields() {
  return {replicas_option(&replicas),
          curvature_option(&curvature),
          {"target", &target, {}, {}, "γ*"},
          sigma_option(&sigma),
          initial_option(&initial)};
}

Options InputScaleOptions::fields() {
  return {count("rows", &rows, "c, elements of a column"),
          replicas_option(&replicas),
          curvature_option(&curvature),
          {"target", &target, {}, {}, "R, the first element of θ*; the others are 0"},
          sigma_option(&sigma),
          {"scale", &scale, {}, {}, "false: no γ, θ = w"},
          initial_option(&initial),
          init_std_option(&init_std, Range::at_least(0), "standard deviation of w at step 0")};
}

Options BranchScalesOptions::fields() {
  return {{"curvatures", &curvatures, Range::above(0), {}, "h_c of each branch"},
          {"targets", &targets, {}, {}, "R_c, as many as curvatures"},
          {"own", &own, {}, {}, "whether every branch has its own γ (HG)"},
          replicas_option(&replicas),
          sigma_option(&sigma),
          initial_option(&initial),
          init_std_option(&init_std, Range::at_least(0), "standard deviation of w at step 0")};
}

Options PlacementOptions::fields() {
  return {count("rows", &rows, "rows of W"),
          count("columns", &columns, "columns of W"),
          replicas_option(&replicas),
          {"scales",
           &scales,
           {},
           {"none", "input", "both", "both_normed"},
           "γ before the map, also behind it (DP), or behind its norm (DNP)"},
          {"target", &target, {}, {"full", "rank_one", "diagonal"}, "what θ* is made of"},
          {"spread", &spread, Range::at_least(1), {}, "ratio of the largest to the smallest scale of θ*'s rows"},
          curvature_option(&curvature),
          sigma_option(&sigma),
          init_std_option(&init_std, Range::at_least(0), "standard deviation of W at step 0"),
          {"initial_weight", &initial_weight, {}, {}, "share of θ* that W at step 0 has besides"}};
}

Options MagnitudeDirectionOptions::fields() {
  return {count("size", &size, "d"),
          {"form", &form, {}, scale_form_words(), "how γ is computed"},
          curvature_option(&curvature),
          {"magnitude_curvature", &magnitude_curvature, Range::above(0), {}, "h_mag, curvature along γ*"},
          {"target", &target, Range::above(0), {}, "root mean square of γ*"},
          {"tilt", &tilt, Range::at_least(0), {}, "standard deviation of γ*'s direction"},
          sigma_option(&sigma)};
}

Options ScaleInvariantOptions::fields() {
  return {count("rows", &rows, "rows of W"),
          count("columns", &columns, "columns of W"),
          {"signal", &signal, Range::at_least(0), {}, "factor of the loss without noise"},
          sigma_option(&sigma),
          init_std_option(&init_std, Range::above(0), "standard deviation of W at step 0")};
}

Options SpectrumOptions::fields() {
  return {count("modes", &modes, "N"),
          {"a", &a, Range::at_least(0), {}, "h_j = j^−a"},
          {"b", &b, {}, {}, "R_j = R₀ j^−b"},
          {"target", &target, Range::above(0), {}, "R₀"},
          {"scale", &scale, {}, {}, "false: no γ, θ = w"},
          initial_option(&initial),
          {"initial_weight", &initial_weight, {}, {}, "w at step 0"},
          sigma_option(&sigma)};
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

Options toy_fields(ToyOptions& options) {
  return std::visit([](auto& o) { return o.fields(); }, options);
}

std::string toy_error(const ToyOptions& options) {
  ToyOptions copy = options;
  if (const std::string error = option_error(toy_fields(copy)); !error.empty()) return error;
  return std::visit([](const auto& o) { return relation_error(o); }, options);
}

}  // namespace scalevec::models
