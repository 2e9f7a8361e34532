#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace scalevec {

// How γ ∈ R^d is made of its parameters (T8); α, δ, a ∈ R^d, β, b scalars.
//   plain                γ                    parameter "gamma"
//   zero_centred         1 + δ                "delta" (Gemma)
//   exponential          e^a, elementwise     "log_gamma"
//   original             β√d α/‖α‖            "beta" and "alpha" (OR; our reading of the paper)
//   product              βα                   "beta" and "alpha"
//   exponential_radial   e^b √d α/‖α‖         "log_beta" and "alpha" (ER; our reading of the paper)
//   exponential_sum      e^(b + a)            "log_beta" and "log_alpha"
//   exponential_product  e^(βa)               "beta" and "log_alpha"
enum class ScaleForm {
  plain,
  zero_centred,
  exponential,
  original,
  product,
  exponential_radial,
  exponential_sum,
  exponential_product
};

// Words of the JSON: "plain", "zero_centred", "exp", "or", "product", "er", "exp_sum", "exp_product".
std::string_view to_string(ScaleForm form);
bool has_magnitude(ScaleForm form);  // two parameters: a magnitude and a direction
bool is_positive(ScaleForm form);    // γ > 0 whatever the parameters, so that `initial` must be

// The γ of one kind of place.
struct GammaOptions {
  bool present = true;
  ScaleForm form = ScaleForm::plain;
  double initial = 1.0;  // of every element of γ

  bool operator==(const GammaOptions&) const = default;
};

// Where scales stand around a linear map W that reads a normalised x.
//   input        W(γ_b ⊙ x): today's
//   both         γ_a ⊙ W(γ_b ⊙ x): DP
//   both_normed  γ_a ⊙ Norm(W(γ_b ⊙ x)): DNP
//   output       γ_a ⊙ Norm(Wx), no norm before the maps: SimpleNorm, arXiv 2602.01212
enum class ScalePlacement { input, both, both_normed, output };
std::string_view to_string(ScalePlacement placement);

// Experts of a mixture under branch scales: one γ for all their gates and one for all their ups, or each its own.
enum class ExpertScales { together, each };

// Learnable multipliers of a matrix, s·diag(r) W diag(c) (arXiv 2601.04890), initially 1.
struct MultiplierOptions {
  bool scalar = false;            // s
  bool rows = false;              // r
  bool columns = false;           // c
  std::vector<std::string> maps;  // sites, as in ScaleOptions::maps; empty: every matrix of the blocks

  bool any() const { return scalar || rows || columns; }
  bool operator==(const MultiplierOptions&) const = default;
};

// Which scale vectors a decoder has. A place without its norm has no γ: `input` means nothing without a norm before the
// sublayer, `post` nothing without one after it.
struct ScaleOptions {
  GammaOptions input;   // γ_b, of the norms before attention and MLP
  GammaOptions output;  // γ_a, under every placement but `input`
  GammaOptions post;    // of the norms after the sublayers
  GammaOptions qk_norm;
  GammaOptions final;        // of the final norm
  bool branch_attn = false;  // HG: own γ_b for Q, K, V …
  bool branch_ffn = false;   // … and for gate, up (and the router)
  ExpertScales experts = ExpertScales::together;
  ScalePlacement placement = ScalePlacement::input;
  // Maps with γ_a, by site: attn.q, attn.k, attn.v, attn.o, ffn.gate, ffn.up, ffn.down. Empty: under DP and DNP those
  // that read the norm (q, k, v, gate, up); under `output` all seven; where a norm is added, not q and k if QK-norm
  // normalises them already. Ours: the paper's abstract does not say which.
  std::vector<std::string> maps;
  // In the place of `placement` and `maps` for single maps, by site: {"attn.v", both_normed}.
  std::map<std::string, ScalePlacement> placements;
  // In the place of the five above for single scales: γ_b "attn", "ffn", or under branch scales "attn.q" …
  // "ffn.router"; γ_a "attn.q.out" …; "attn.q_norm", "attn.k_norm"; "attn_post", "ffn_post". Experts of a mixture share
  // "ffn.gate" …
  std::map<std::string, GammaOptions> at;
  MultiplierOptions multipliers;
  // Accept a magnitude that a following norm makes inert (T7), which error() otherwise refuses. On in "unified".
  bool allow_inert = false;

  bool operator==(const ScaleOptions&) const = default;
};

// Names of the presets: plain, none, hg, dp, dnp, or, unified.
const std::vector<std::string>& scale_presets();

// Throws std::invalid_argument for an unknown name. "unified" is the paper's HG + DNP + OR, on every γ; its weight
// decay on input-class scales only (IWD) is a matter of the policy.
ScaleOptions scale_preset(std::string_view name);

}  // namespace scalevec
