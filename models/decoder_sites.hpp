#pragma once

#include <string>
#include <vector>

#include "scalevec/models/decoder_options.hpp"

// What the options say about each linear map of a block, by site. Options are resolved ones.
namespace scalevec {

// attn.q, attn.k, attn.v, attn.o, ffn.gate, ffn.up, ffn.down.
const std::vector<std::string>& map_sites();

// Sites that ScaleOptions::at may name.
const std::vector<std::string>& scale_sites();
// The options of the kind of place that a site of scale_sites() is: `input`, `output`, `qk_norm` or `post`.
const GammaOptions& kind_of(const ScaleOptions& scales, const std::string& site);
// Of the scale at a site: what `at` says, or its kind's.
const GammaOptions& gamma_at(const ScaleOptions& scales, const std::string& site);
// What stands around the map: `input` where nothing stands behind it.
ScalePlacement placement_of(const ScaleOptions& scales, const std::string& site);

// γ_a stands behind the map.
bool has_output_scale(const DecoderOptions& options, const std::string& site);
// A norm of the design (DNP, SimpleNorm) stands behind the map.
bool has_output_norm(const DecoderOptions& options, const std::string& site);
// The map has a γ_b of its own (HG).
bool has_branch_scale(const DecoderOptions& options, const std::string& site);
// The map's output is normalised, by the design or by QK-norm: its magnitude does not reach the loss.
bool output_normalised(const DecoderOptions& options, const std::string& site);

// A line for each γ_b whose magnitude parameter every reader's norm makes inert (T7).
std::vector<std::string> inert_magnitudes(const DecoderOptions& options);

}  // namespace scalevec
