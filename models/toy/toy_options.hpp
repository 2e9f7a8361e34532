#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// The options of the toy models. A toy's seed is no option of it: it is the run's, given to its constructor.
namespace scalevec {

// One option: its key in a configuration, where it is held, and what it may be.
struct ToyField {
  std::string_view key;
  std::variant<std::int64_t*, double*, bool*, std::string*, std::vector<double>*> value;
  double low = -std::numeric_limits<double>::infinity();  // of numbers, and of every number of a list
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;           // `low` itself is not allowed
  std::vector<std::string> words;  // what a string may be
};

// In all of them σ is the standard deviation of the gradient noise on θ (or γ), h the curvature, and replicas are
// independent copies side by side.

// T5: an output-norm scale γ, loss ½h(γ − γ*)².
struct OutputScaleOptions {
  static constexpr const char* type = "output_scale";
  std::int64_t replicas = 256;
  double curvature = 1.0;  // h > 0
  double target = 2.0;     // γ*
  double sigma = 1.5;
  double initial = 1.0;  // γ at step 0
  std::vector<ToyField> fields();
};

// T2, T3, T4: an input-norm scale γ and the column w that reads it, θ = γw, loss ½h‖θ − θ*‖², θ* = R along the first
// row.
struct InputScaleOptions {
  static constexpr const char* type = "input_scale";
  std::int64_t rows = 16;      // c, elements of a column
  std::int64_t replicas = 64;  // columns
  double curvature = 1.0;
  double target = 1.0;  // R
  double sigma = 0.0;
  bool scale = true;       // without: θ = w
  double initial = 1.0;    // γ at step 0
  double init_std = 0.02;  // of w at step 0, ≥ 0
  std::vector<ToyField> fields();
};

// T6: C branches read one input through one γ, or through one each (HG); θ_c = γw_c, loss ½Σ h_c(θ_c − R_c)².
struct BranchScalesOptions {
  static constexpr const char* type = "branch_scales";
  std::vector<double> curvatures{1.0, 0.01};  // h_c > 0
  std::vector<double> targets{0.1, 10.0};     // R_c
  bool own = false;                           // a γ of its own for every branch
  std::int64_t replicas = 16;
  double sigma = 0.0;
  double initial = 1.0;    // γ at step 0
  double init_std = 1e-3;  // of w at step 0
  std::vector<ToyField> fields();
};

// T7: scales around a map, θ = diag(u) W diag(v), loss ½h‖θ − θ*‖².
struct PlacementOptions {
  static constexpr const char* type = "placement";
  std::int64_t rows = 8, columns = 8;
  std::int64_t replicas = 4;
  // none: θ = W; input: W diag(v); both (DP): diag(u) W diag(v); both_normed (DNP): diag(u) M √rows/‖M‖, M = W diag(v),
  // which is Norm(M x) with the norm taken on average over white x.
  std::string scales = "both";
  // Of N(0, 1) draws x: full θ*_ij = s_i x_ij, or rank_one s_i x_i x'_j. The row scales s_i go geometrically from
  // 1/√spread to √spread.
  std::string target = "full";
  double spread = 10.0;
  double curvature = 1.0;
  double sigma = 0.5;
  double init_std = 0.1;  // of W at step 0
  std::vector<ToyField> fields();
};

// T8: γ ∈ R^d of a magnitude and a direction, loss ½(γ − γ*)ᵀH(γ − γ*) with curvature h_mag along γ* and h elsewhere;
// γ* ∝ 1 + tilt·N(0, 1) with root mean square `target`.
struct MagnitudeDirectionOptions {
  static constexpr const char* type = "magnitude_direction";
  std::int64_t size = 64;             // d
  std::string form = "or";            // plain, or, product, er, exp_sum (e^(b + a)), exp_product (e^(ba)): ScaleForm
  double curvature = 1.0;             // h
  double magnitude_curvature = 0.01;  // h_mag
  double target = 2.0;
  double tilt = 0.3;
  double sigma = 0.0;
  std::vector<ToyField> fields();
};

// T9: a matrix before a norm: with ŵ = W/‖W‖, loss signal·½‖ŵ − t‖² for a random unit t, gradient noise σ on ŵ.
struct ScaleInvariantOptions {
  static constexpr const char* type = "scale_invariant";
  std::int64_t rows = 16, columns = 16;
  double signal = 0.0;  // ≥ 0
  double sigma = 1.0;
  double init_std = 1.0;  // of W at step 0, > 0
  std::vector<ToyField> fields();
};

// T10: modes j = 1 … N with curvature j^−a and target R₀ j^−b, θ_j = γ_jw_j, loss ½Σ h_j(θ_j − R_j)².
struct SpectrumOptions {
  static constexpr const char* type = "spectrum";
  std::int64_t modes = 1000;  // N
  double a = 2.0;
  double b = 0.5;
  double target = 1.0;          // R₀
  bool scale = true;            // without: θ = w
  double initial = 1.0;         // γ at step 0
  double initial_weight = 0.0;  // w at step 0
  double sigma = 0.0;
  std::vector<ToyField> fields();
};

using ToyOptions = std::variant<OutputScaleOptions, InputScaleOptions, BranchScalesOptions, PlacementOptions,
                                MagnitudeDirectionOptions, ScaleInvariantOptions, SpectrumOptions>;

// Every toy's type, and the default options of one; std::invalid_argument for another word.
const std::vector<std::string>& toy_types();
ToyOptions toy_defaults(std::string_view type);

std::string_view toy_type(const ToyOptions& options);
// Pointers into `options`.
std::vector<ToyField> toy_fields(ToyOptions& options);
// The first thing wrong, as "field: got VALUE; allowed: …"; empty if nothing is.
std::string toy_error(const ToyOptions& options);

}  // namespace scalevec
