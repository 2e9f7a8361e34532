#include <algorithm>

#include "experiments/compare/grid.hpp"
#include "experiments/errors.hpp"

namespace scalevec::experiments {

using nlohmann::json;

namespace {

// What the analysis of a grid relies on and a manifest from elsewhere may not keep.
void check_manifest(const Grid& grid) {
  const auto refuse = [](const std::string& what) {
    throw UsageError("compare.json: not written by this program: " + what);
  };
  const auto in = [](const auto& list, const auto& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  if (!in(grid.variants, grid.baseline)) refuse("its baseline is none of its variants");
  for (const Cell& cell : grid.cells) {
    if (!in(grid.variants, cell.variant)) refuse("the cell " + cell.name + " is of no variant");
    for (const GridAxis& axis : grid.axes)
      if (!cell.setting.is_object() || !cell.setting.contains(axis.key) || !in(axis.values, cell.setting.at(axis.key)))
        refuse("the setting of the cell " + cell.name + " is not on the axis " + axis.key);
    if (cell.setting.is_object() && cell.setting.contains(kAlternative) && !cell.setting.at(kAlternative).is_string())
      refuse("the alternative of the cell " + cell.name + " has no name");
  }
  if (grid.search && (grid.axes.size() != 1 || grid.axes[0].key != grid.lr_key))
    refuse("its search has no axis of learning rates");
  if (grid.search)
    for (const auto& [variant, other] : grid.search->same_as)
      if (!in(grid.variants, variant) || !in(grid.variants, other) || grid.search->same_as.count(other))
        refuse("its search takes the setting of " + other + ", which is not tuned");
  for (const GridAxis& axis : grid.axes)
    for (const json& value : axis.values)
      if (axis.key == grid.lr_key && !value.is_number()) refuse("a learning rate is no number");
}

}  // namespace

json grid_manifest(const Grid& grid) {
  json out{{"name", grid.name},     {"variants", grid.variants}, {"baseline", grid.baseline},
           {"lr_key", grid.lr_key}, {"seed_key", grid.seed_key}, {"seeds", grid.seeds},
           {"axes", json::array()}, {"cells", json::array()},    {"tuning_seeds", grid.tuning_seeds}};
  if (grid.trunk) out["trunk"] = {{"steps", grid.trunk->config.at("steps")}, {"hash", grid.trunk->hash}};
  if (grid.search)
    out["search"] = {
        {"start", grid.search->start}, {"settings", grid.search->settings}, {"same_as", grid.search->same_as}};
  for (const GridAxis& axis : grid.axes) out["axes"].push_back({{"key", axis.key}, {"values", axis.values}});
  for (const Cell& cell : grid.cells)
    out["cells"].push_back({{"name", cell.name},
                            {"variant", cell.variant},
                            {"setting", cell.setting},
                            {"seed", cell.seed},
                            {"tuning", cell.tuning},
                            {"hash", cell.hash}});
  return out;
}

Grid grid_from_manifest(const json& manifest) {
  Grid grid;
  try {
    for (const auto& [key, member] : {std::pair{"name", &grid.name}, std::pair{"baseline", &grid.baseline},
                                      std::pair{"lr_key", &grid.lr_key}, std::pair{"seed_key", &grid.seed_key}})
      *member = manifest.at(key).get<std::string>();
    grid.variants = manifest.at("variants").get<std::vector<std::string>>();
    grid.seeds = manifest.at("seeds").get<std::vector<std::int64_t>>();
    grid.tuning_seeds = manifest.at("tuning_seeds").get<std::vector<std::int64_t>>();
    if (manifest.contains("trunk")) {
      const json& trunk = manifest.at("trunk");
      const json config = {{"steps", trunk.at("steps").get<std::int64_t>()}};
      grid.trunk = Cell{kTrunk, "", json::object(), 0, false, config, trunk.at("hash").get<std::string>()};
    }
    if (manifest.contains("search")) {
      const json& search = manifest.at("search");
      grid.search = Search{search.at("start").get<std::vector<double>>(), search.at("settings").get<std::int64_t>(),
                           search.at("same_as").get<std::map<std::string, std::string>>()};
    }
    for (const json& axis : manifest.at("axes"))
      grid.axes.push_back({axis.at("key").get<std::string>(), axis.at("values").get<std::vector<json>>()});
    for (const json& cell : manifest.at("cells"))
      grid.cells.push_back({cell.at("name").get<std::string>(), cell.at("variant").get<std::string>(),
                            cell.at("setting"), cell.at("seed").get<std::int64_t>(), cell.at("tuning").get<bool>(),
                            json(), cell.at("hash").get<std::string>()});
  } catch (const json::exception& e) {
    throw UsageError(std::string("compare.json: not written by this program: ") + e.what());
  }
  check_manifest(grid);
  return grid;
}

}  // namespace scalevec::experiments
