#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace scalevec {

// What a parameter is. A model states it when it creates the parameter; nothing infers it from a shape or a name.
enum class ParamKind { embedding, unembedding, matrix, router, bias, scale };

// Of a scale: `input` folds into some linear map (the one that follows, or through the attention average or a gate's
// product the next); `output` folds nowhere. `none` for every other kind.
enum class NormClass { none, input, output };

// Of a scale: which side of its linear map it stands on.
enum class ScaleSide { none, before, after };

// Of a scale: what it holds of γ under a reparameterisation (`value` is γ itself).
enum class ScalePart { none, value, magnitude, direction };

struct ParamRole {
  ParamKind kind = ParamKind::matrix;
  NormClass norm_class = NormClass::none;
  std::string site;  // "attn.q", "ffn.gate", "final", …; empty where a parameter has no site
  int layer = -1;    // block index from 0; -1 outside the blocks
  ScaleSide side = ScaleSide::none;
  ScalePart part = ScalePart::none;
  std::int64_t row_blocks = 1;  // equal blocks of rows that are maps of their own: 3 for stacked Q, K, V
  std::int64_t head_dim = 0;    // of a map to queries or keys: the rows of a head; of stacked Q, K, V of the first two

  bool operator==(const ParamRole&) const = default;
};

std::string_view to_string(ParamKind kind);
std::string_view to_string(NormClass norm_class);
std::string_view to_string(ScaleSide side);
std::string_view to_string(ScalePart part);

// Empty for an unknown word.
std::optional<ParamKind> parse_param_kind(std::string_view word);
std::optional<NormClass> parse_norm_class(std::string_view word);
std::optional<ScaleSide> parse_scale_side(std::string_view word);
std::optional<ScalePart> parse_scale_part(std::string_view word);

// "scale input attn_norm layer 3": for tables and messages.
std::string describe(const ParamRole& role);

// The group a parameter is aggregated in for traces: the kind, and for scales "scale.input" or "scale.output".
std::string trace_group(const ParamRole& role);

// Why the role contradicts itself (a norm class on a matrix, a scale without one), or empty.
std::string role_error(const ParamRole& role);

}  // namespace scalevec
