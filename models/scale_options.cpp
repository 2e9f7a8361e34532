#include "models/scale_options.hpp"

#include <array>
#include <stdexcept>

#include "optim/core/option.hpp"

namespace scalevec::models {
namespace {

void apply_hg(ScaleOptions& s) { s.branch_attn = s.branch_ffn = true; }
void apply_dnp(ScaleOptions& s) { s.placement = ScalePlacement::both_normed; }
void apply_or(ScaleOptions& s) {
  for (GammaOptions* g : {&s.input, &s.output, &s.post, &s.qk_norm, &s.final}) g->form = ScaleForm::original;
}

// A design by name is an entry here: what it changes of the default options.
struct Preset {
  const char* name;
  void (*apply)(ScaleOptions&);
};
constexpr std::array kPresets{
    Preset{"plain", [](ScaleOptions&) {}},
    Preset{"none",
           [](ScaleOptions& s) {
             for (GammaOptions* g : {&s.input, &s.output, &s.post, &s.qk_norm, &s.final}) g->present = false;
           }},
    Preset{"hg", apply_hg},
    Preset{"dp", [](ScaleOptions& s) { s.placement = ScalePlacement::both; }},
    Preset{"dnp", apply_dnp},
    Preset{"or", apply_or},
    Preset{"unified",
           [](ScaleOptions& s) {
             apply_hg(s);
             apply_dnp(s);
             apply_or(s);
             s.allow_inert = true;
           }},
};

}  // namespace

const std::vector<std::string>& scale_placement_words() {
  static const std::vector<std::string> words{"input", "both", "both_normed", "output"};
  return words;
}

std::string_view to_string(ScalePlacement placement) {
  return scale_placement_words()[static_cast<std::size_t>(placement)];
}

const std::vector<std::string>& scale_presets() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const Preset& preset : kPresets) out.emplace_back(preset.name);
    return out;
  }();
  return names;
}

ScaleOptions scale_preset(std::string_view name) {
  ScaleOptions s;
  for (const Preset& preset : kPresets) {
    if (preset.name != name) continue;
    preset.apply(s);
    return s;
  }
  throw std::invalid_argument(not_allowed("scales", name, joined(scale_presets())));
}

}  // namespace scalevec::models
