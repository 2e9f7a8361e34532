#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "optim/core/scale_form.hpp"

namespace scalevec::models {

using scalevec::ScaleForm;

// The γ of one kind of place.
struct GammaOptions {
  bool present = true;
  ScaleForm form = ScaleForm::plain;
  double initial = 1.0;  // initial value of every element of γ

  bool operator==(const GammaOptions&) const = default;
};

// Where scale vectors stand around a linear map W that reads a normalised x.
//   input        W(γ_b ⊙ x): the usual one
//   both         γ_a ⊙ W(γ_b ⊙ x): DP
//   both_normed  γ_a ⊙ Norm(W(γ_b ⊙ x)): DNP
//   output       γ_a ⊙ Norm(Wx), no norm before the maps: SimpleNorm, arXiv 2602.01212
enum class ScalePlacement { input, both, both_normed, output };
std::string_view to_string(ScalePlacement placement);
// In the order of the enumeration.
const std::vector<std::string>& scale_placement_words();

// Experts of a mixture under branch scales. together: one γ for all their gates and one for all their ups. each: a γ
// for each gate and each up.
enum class ExpertScales { together, each };

// Learnable multipliers of a matrix, s·diag(r) W diag(c) (arXiv 2601.04890). All are 1 initially.
struct MultiplierOptions {
  bool scalar = false;            // s
  bool rows = false;              // r
  bool columns = false;           // c
  std::vector<std::string> maps;  // sites, as in ScaleOptions::maps; empty: every matrix of the blocks

  bool any() const { return scalar || rows || columns; }
  bool operator==(const MultiplierOptions&) const = default;
};

// Which scale vectors a decoder has (docs/scale-designs.md). `input` has no effect without a norm before the sublayer,
// and `post` has none without a norm after it.
struct ScaleOptions {
  GammaOptions input;   // γ_b, of the norms before attention and MLP
  GammaOptions output;  // γ_a, under every placement except `input`
  GammaOptions post;    // of the norms after the sublayers
  GammaOptions qk_norm;
  GammaOptions final;        // of the final norm
  bool branch_attn = false;  // HG: a γ_b each for Q, K, V …
  bool branch_ffn = false;   // … and for gate, up (and the router)
  ExpertScales experts = ExpertScales::together;
  ScalePlacement placement = ScalePlacement::input;
  // The maps with a γ_a, by site: attn.q, attn.k, attn.v, attn.o, ffn.gate, ffn.up, ffn.down. Empty: under DP and DNP
  // the maps that read the norm (q, k, v, gate, up); under `output` all seven. Where a norm is added, q and k are left
  // out if QK-norm normalises them already. This choice is ours, since the paper's abstract does not say which maps.
  std::vector<std::string> maps;
  // For single maps, in place of `placement` and `maps`: {"attn.v", both_normed}.
  std::map<std::string, ScalePlacement> placements;
  // For single scale vectors, in place of the five GammaOptions above, by site: γ_b "attn", "ffn", or under branch
  // scales "attn.q" … "ffn.router"; γ_a "attn.q.out" …; "attn.q_norm", "attn.k_norm"; "attn_post", "ffn_post". The
  // experts of a mixture share "ffn.gate" ….
  std::map<std::string, GammaOptions> at;
  MultiplierOptions multipliers;
  // Whether to accept a magnitude that a following norm makes ineffective (T7), which error() otherwise refuses. True
  // in "unified".
  bool allow_inert = false;

  bool operator==(const ScaleOptions&) const = default;
};

// The names of the presets: plain, none, hg, dp, dnp, or, unified.
const std::vector<std::string>& scale_presets();

// The options of a preset. Throws std::invalid_argument for an unknown name. "unified" is the paper's HG + DNP + OR,
// with OR for every γ. The paper's weight decay on input-class scale vectors only (IWD) is not part of it: state it in
// the policy.
ScaleOptions scale_preset(std::string_view name);

}  // namespace scalevec::models
