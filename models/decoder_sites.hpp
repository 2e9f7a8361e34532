#pragma once

#include <string>
#include <vector>

#include "models/decoder_options.hpp"

// What the options say about each linear map of a block, by site ("attn.q"). All options given here must be resolved().
namespace scalevec::models {

// The sites of the linear maps of a block: attn.q, attn.k, attn.v, attn.o, ffn.gate, ffn.up, ffn.down.
const std::vector<std::string>& map_sites();

// The sites that ScaleOptions::at may name.
const std::vector<std::string>& scale_sites();
// The options for the kind of place of a site of scale_sites(): `input`, `output`, `qk_norm` or `post`.
const GammaOptions& kind_of(const ScaleOptions& scales, const std::string& site);
// The options of the scale vector at a site: those in `at`, else those of its kind.
const GammaOptions& gamma_at(const ScaleOptions& scales, const std::string& site);
// The placement of the scale vectors of a map; `input` if there is none behind it.
ScalePlacement placement_of(const ScaleOptions& scales, const std::string& site);

// Whether a γ_a stands behind the map.
bool has_output_scale(const DecoderOptions& options, const std::string& site);
// Whether the design (DNP, SimpleNorm) has a norm behind the map.
bool has_output_norm(const DecoderOptions& options, const std::string& site);
// Whether the map has a γ_b of its own (HG).
bool has_branch_scale(const DecoderOptions& options, const std::string& site);
// Whether the map's output is normalised, by the design or by QK-norm. Its magnitude then does not change the loss.
bool output_normalised(const DecoderOptions& options, const std::string& site);

// Why the option qk_clip of an optimizer cannot bound the attention logits, as "field: got VALUE with qk_clip; allowed:
// …"; empty if it can. They must be linear in the outputs of the maps to queries and to keys.
std::string qk_clip_error(const DecoderOptions& options);

// One line for each γ_b whose magnitude parameter has no effect, because every map that reads it is followed by a norm
// (T7 in docs/theory.md).
std::vector<std::string> inert_magnitudes(const DecoderOptions& options);

}  // namespace scalevec::models
