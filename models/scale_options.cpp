#include "models/scale_options.hpp"

#include <stdexcept>

namespace scalevec::models {

std::string_view to_string(ScalePlacement placement) {
  switch (placement) {
    case ScalePlacement::input:
      return "input";
    case ScalePlacement::both:
      return "both";
    case ScalePlacement::both_normed:
      return "both_normed";
    case ScalePlacement::output:
      return "output";
  }
  return "?";
}

const std::vector<std::string>& scale_presets() {
  static const std::vector<std::string> names{"plain", "none", "hg", "dp", "dnp", "or", "unified"};
  return names;
}

ScaleOptions scale_preset(std::string_view name) {
  ScaleOptions s;
  const bool unified = name == "unified";
  if (name == "none")
    for (GammaOptions* g : {&s.input, &s.output, &s.post, &s.qk_norm, &s.final}) g->present = false;
  else if (name == "dp")
    s.placement = ScalePlacement::both;
  else if (name != "plain" && name != "hg" && name != "dnp" && name != "or" && !unified)
    throw std::invalid_argument("scales: got " + std::string(name) +
                                "; allowed: plain, none, hg, dp, dnp, or, unified");
  if (name == "hg" || unified) s.branch_attn = s.branch_ffn = true;
  if (name == "dnp" || unified) s.placement = ScalePlacement::both_normed;
  if (name == "or" || unified)
    for (GammaOptions* g : {&s.input, &s.output, &s.post, &s.qk_norm, &s.final}) g->form = ScaleForm::original;
  s.allow_inert = unified;
  return s;
}

}  // namespace scalevec::models
