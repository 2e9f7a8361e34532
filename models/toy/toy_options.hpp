#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "optim/core/option.hpp"

// The options of the toy models. The seed of a toy is not one of them: it is the seed of the run, given to its
// constructor.
namespace scalevec::models {

class Toy;

// A toy is a struct here with its fields() in toy_options.cpp, its place in ToyOptions, and one source with its class
// and make(), which make_toy() calls with options that toy_error() accepts. In all of them σ (sigma ≥ 0) is the
// standard deviation of the gradient noise on θ (or γ), h the curvature, and replicas are independent copies in one
// tensor. The losses are those of the results T2 to T10 in docs/theory.md.

// T5: an output-class scale γ with loss ½h(γ − γ*)².
struct OutputScaleOptions {
  static constexpr const char* type = "output_scale";
  std::int64_t replicas = 256;
  double curvature = 1.0;  // h > 0
  double target = 2.0;     // γ*
  double sigma = 1.5;
  double initial = 1.0;  // γ at step 0
  Options fields();
  std::unique_ptr<Toy> make(std::uint64_t seed) const;
};

// T2, T3, T4: an input-class scale γ and the column w that reads it, θ = γw, with loss ½h‖θ − θ*‖². θ* is R in the
// first row and 0 elsewhere.
struct InputScaleOptions {
  static constexpr const char* type = "input_scale";
  std::int64_t rows = 16;      // c, elements of a column
  std::int64_t replicas = 64;  // columns
  double curvature = 1.0;
  double target = 1.0;  // R
  double sigma = 0.0;
  bool scale = true;       // false: no γ, θ = w
  double initial = 1.0;    // γ at step 0
  double init_std = 0.02;  // of w at step 0, ≥ 0
  Options fields();
  std::unique_ptr<Toy> make(std::uint64_t seed) const;
};

// T6: C branches read one input through one γ, or through one γ each (HG); θ_c = γw_c, with loss ½Σ h_c(θ_c − R_c)².
struct BranchScalesOptions {
  static constexpr const char* type = "branch_scales";
  std::vector<double> curvatures{1.0, 0.01};  // h_c > 0
  std::vector<double> targets{0.1, 10.0};     // R_c
  bool own = false;                           // whether every branch has its own γ
  std::int64_t replicas = 16;
  double sigma = 0.0;
  double initial = 1.0;    // γ at step 0
  double init_std = 1e-3;  // of w at step 0
  Options fields();
  std::unique_ptr<Toy> make(std::uint64_t seed) const;
};

// T7: scale vectors u, v around a map W, θ = diag(u) W diag(v), with loss ½h‖θ − θ*‖².
struct PlacementOptions {
  static constexpr const char* type = "placement";
  std::int64_t rows = 8, columns = 8;
  std::int64_t replicas = 4;
  // none: θ = W; input: W diag(v); both (DP): diag(u) W diag(v); both_normed (DNP): diag(u) M √rows/‖M‖ with M = W
  // diag(v), which is Norm(M x) with the norm averaged over white x.
  std::string scales = "both";
  // θ* from draws x of N(0, 1): full θ*_ij = s_i x_ij, or rank_one s_i x_i x'_j; or diagonal s_i δ_ij. The row scales
  // s_i are geometrically spaced from 1/√spread to √spread.
  std::string target = "full";
  double spread = 10.0;
  double curvature = 1.0;
  double sigma = 0.5;
  double init_std = 0.1;        // of W at step 0
  double initial_weight = 0.0;  // W at step 0 is so much of θ*, and draws with init_std
  Options fields();
  std::unique_ptr<Toy> make(std::uint64_t seed) const;
};

// T8: γ ∈ R^d computed from a magnitude and a direction, with loss ½(γ − γ*)ᵀH(γ − γ*), where H has curvature h_mag
// along γ* and h in all other directions. γ* ∝ 1 + tilt·N(0, 1), with root mean square `target`.
struct MagnitudeDirectionOptions {
  static constexpr const char* type = "magnitude_direction";
  std::int64_t size = 64;             // d
  std::string form = "or";            // the word of a ScaleForm
  double curvature = 1.0;             // h
  double magnitude_curvature = 0.01;  // h_mag
  double target = 2.0;
  double tilt = 0.3;
  double sigma = 0.0;
  Options fields();
  std::unique_ptr<Toy> make(std::uint64_t seed) const;
};

// T9: a matrix before a norm. With ŵ = W/‖W‖, the loss is signal·½‖ŵ − t‖² for a random unit t, with gradient noise σ
// on ŵ.
struct ScaleInvariantOptions {
  static constexpr const char* type = "scale_invariant";
  std::int64_t rows = 16, columns = 16;
  double signal = 0.0;  // ≥ 0
  double sigma = 1.0;
  double init_std = 1.0;  // of W at step 0, > 0
  Options fields();
  std::unique_ptr<Toy> make(std::uint64_t seed) const;
};

// T10: modes j = 1 … N with curvature h_j = j^−a and target R_j = R₀ j^−b, θ_j = γ_jw_j, with loss ½Σ h_j(θ_j − R_j)².
struct SpectrumOptions {
  static constexpr const char* type = "spectrum";
  std::int64_t modes = 1000;  // N
  double a = 2.0;
  double b = 0.5;
  double target = 1.0;          // R₀
  bool scale = true;            // false: no γ, θ = w
  double initial = 1.0;         // γ at step 0
  double initial_weight = 0.0;  // w at step 0
  double sigma = 0.0;
  Options fields();
  std::unique_ptr<Toy> make(std::uint64_t seed) const;
};

using ToyOptions = std::variant<OutputScaleOptions, InputScaleOptions, BranchScalesOptions, PlacementOptions,
                                MagnitudeDirectionOptions, ScaleInvariantOptions, SpectrumOptions>;

// The types of all toys. toy_defaults() returns the default options of one; it throws std::invalid_argument for any
// other word.
const std::vector<std::string>& toy_types();
ToyOptions toy_defaults(std::string_view type);

std::string_view toy_type(const ToyOptions& options);
// All options of a toy; they are stored in `options`.
Options toy_fields(ToyOptions& options);
// The first error, as "field: got VALUE; allowed: …"; empty if there is none.
std::string toy_error(const ToyOptions& options);

}  // namespace scalevec::models
