#include "experiments/scales/scale_names.hpp"
#include "optim/config/json_reader.hpp"
#include "tests/fuzz/targets.hpp"

using namespace scalevec::experiments;

void scalevec::fuzz::name_table(std::string_view bytes) {
  try {
    for (const Architecture& a : read_architectures(std::string(bytes), "names.json")) {
      require(!a.model_types.empty() && !a.scales.empty(), "what is accepted has types and scales");
      for (const ScaleName& scale : a.scales)
        for (const std::string& pattern : {scale.site, scale.scale, scale.tied})
          for (const std::string& name : expanded(pattern)) {
            match_name(name, "model.layers.12.mlp.weight");
            require(name.find("{L}") != std::string::npos || name.find("{E}") != std::string::npos ||
                        match_name(name, name).has_value(),
                    "a pattern without numbers fits itself");
          }
    }
  } catch (const ConfigError&) {
  }
}
