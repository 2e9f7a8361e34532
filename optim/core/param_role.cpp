#include "optim/core/param_role.hpp"

#include <array>
#include <utility>

namespace scalevec {
namespace {

template <class E, size_t N>
using Words = std::array<std::pair<E, std::string_view>, N>;

constexpr Words<ParamKind, 6> kKinds{{{ParamKind::embedding, "embedding"},
                                      {ParamKind::unembedding, "unembedding"},
                                      {ParamKind::matrix, "matrix"},
                                      {ParamKind::router, "router"},
                                      {ParamKind::bias, "bias"},
                                      {ParamKind::scale, "scale"}}};
constexpr Words<NormClass, 3> kClasses{
    {{NormClass::none, "none"}, {NormClass::input, "input"}, {NormClass::output, "output"}}};
constexpr Words<ScaleSide, 3> kSides{
    {{ScaleSide::none, "none"}, {ScaleSide::before, "before"}, {ScaleSide::after, "after"}}};
constexpr Words<ScalePart, 4> kParts{{{ScalePart::none, "none"},
                                      {ScalePart::value, "value"},
                                      {ScalePart::magnitude, "magnitude"},
                                      {ScalePart::direction, "direction"}}};

template <class E, size_t N>
std::string_view word_of(const Words<E, N>& words, E value) {
  for (const auto& [e, word] : words)
    if (e == value) return word;
  return "?";
}

template <class E, size_t N>
std::optional<E> value_of(const Words<E, N>& words, std::string_view word) {
  for (const auto& [e, w] : words)
    if (w == word) return e;
  return std::nullopt;
}

}  // namespace

std::string_view to_string(ParamKind kind) { return word_of(kKinds, kind); }
std::string_view to_string(NormClass norm_class) { return word_of(kClasses, norm_class); }
std::string_view to_string(ScaleSide side) { return word_of(kSides, side); }
std::string_view to_string(ScalePart part) { return word_of(kParts, part); }

std::optional<ParamKind> parse_param_kind(std::string_view word) { return value_of(kKinds, word); }
std::optional<NormClass> parse_norm_class(std::string_view word) { return value_of(kClasses, word); }
std::optional<ScaleSide> parse_scale_side(std::string_view word) { return value_of(kSides, word); }
std::optional<ScalePart> parse_scale_part(std::string_view word) { return value_of(kParts, word); }

std::string describe(const ParamRole& role) {
  std::string text(to_string(role.kind));
  if (role.norm_class != NormClass::none) text += " " + std::string(to_string(role.norm_class));
  if (role.part != ScalePart::none && role.part != ScalePart::value) text += " " + std::string(to_string(role.part));
  if (role.side != ScaleSide::none) text += " " + std::string(to_string(role.side));
  if (!role.site.empty()) text += " " + role.site;
  if (role.layer >= 0) text += " layer " + std::to_string(role.layer);
  if (role.row_blocks != 1) text += " of " + std::to_string(role.row_blocks) + " row blocks";
  return text;
}

std::string trace_group(const ParamRole& role) {
  std::string group(to_string(role.kind));
  if (role.kind == ParamKind::scale) group += "." + std::string(to_string(role.norm_class));
  return group;
}

std::string role_error(const ParamRole& role) {
  if (role.row_blocks < 1) return "row_blocks: got " + std::to_string(role.row_blocks) + "; allowed: at least 1";
  if (role.kind == ParamKind::scale) {
    if (role.norm_class == NormClass::none) return "a scale needs norm_class input or output";
    return {};
  }
  if (role.norm_class != NormClass::none)
    return "norm_class " + std::string(to_string(role.norm_class)) + " on kind " + std::string(to_string(role.kind)) +
           ": only a scale has one";
  if (role.side != ScaleSide::none || role.part != ScalePart::none)
    return "side or part on kind " + std::string(to_string(role.kind)) + ": only a scale has them";
  return {};
}

}  // namespace scalevec
