#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

// A comparison's grid: variants × axes, expanded to one run configuration per cell.
namespace scalevec {

struct GridAxis {
  std::string key;                     // dotted path into the run configuration
  std::vector<nlohmann::json> values;  // in file order
};

struct Cell {
  std::string name;  // its folder under the comparison's: "plain/lr=0.003,seed=1"
  std::string variant;
  nlohmann::json setting;  // values of every axis but the seed's, by key
  std::int64_t seed = 0;
  bool tuning = false;    // its seed only serves to choose the setting
  nlohmann::json config;  // the run configuration as the grid states it
  std::string hash;       // of `config`
};

struct Grid {
  std::string name;
  std::vector<std::string> variants;  // in file order
  std::string baseline;
  std::string lr_key, seed_key;
  std::vector<GridAxis> axes;  // without the seed's
  std::vector<std::int64_t> seeds, tuning_seeds;
  std::vector<Cell> cells;  // tuning seeds first, then seed by seed, so that a partial comparison is a balanced one
};

// Reads {"name", "base": {…} or "file.json" beside the grid, "variants": {name: {overrides}}, "baseline",
// "grid": {axis: […], …, the seed axis: […]}, "lr_key" ("optimizer.lr"), "seed_key" ("seed"), "tuning_seeds"}.
// Overrides are applied in the order base, `sets` ("key=value"), variant, axes. Throws ConfigError.
Grid read_grid(const std::filesystem::path& file, const std::vector<std::string>& sets = {});

// What a comparison's folder keeps of its grid (compare.json): all but the configurations, which the cells' folders
// hold.
nlohmann::json grid_manifest(const Grid& grid);
Grid grid_from_manifest(const nlohmann::json& manifest);

// "lr=0.003, weight_decay=0.1": axis keys by their last word where that is unambiguous.
std::string describe_setting(const Grid& grid, const nlohmann::json& setting);

// The last word of an axis key, or the whole key where two axes share it.
std::string short_key(const Grid& grid, const std::string& key);

}  // namespace scalevec
