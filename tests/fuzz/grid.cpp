#include "experiments/compare/grid.hpp"

#include "experiments/errors.hpp"
#include "tests/fuzz/targets.hpp"

using namespace scalevec::experiments;

namespace {

// Axes multiply, and every cell holds a configuration: what a grid takes is not bounded by its file's size but by the
// cells it asks for. Only files that ask for few are fed.
bool asks_for_few(std::string_view bytes) {
  nlohmann::json json;
  try {
    json = scalevec::parse_json(bytes, "input");
  } catch (const scalevec::ConfigError&) {
    return true;
  }
  if (!json.is_object() || !json.contains("grid") || !json["grid"].is_structured()) return true;
  double cells = json.contains("variants") ? static_cast<double>(json["variants"].size()) : 1.0;
  if (json.contains("tuning_seeds")) cells *= 1.0 + static_cast<double>(json["tuning_seeds"].size());
  for (const auto& axis : json["grid"]) cells *= static_cast<double>(axis.size());
  return cells <= 64;
}

}  // namespace

void scalevec::fuzz::grid(std::string_view bytes) {
  if (!asks_for_few(bytes)) return;
  const InputFile file(bytes, ".json");
  try {
    const Grid grid = read_grid(file.path(), {});
    const auto manifest = grid_manifest(grid);
    require(grid_manifest(grid_from_manifest(manifest)) == manifest, "a grid comes back from its manifest");
  } catch (const ConfigError&) {
  } catch (const UsageError&) {
  }
}
