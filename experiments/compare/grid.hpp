#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

// The grid of a comparison: variants × axes, expanded to one run configuration per cell.
namespace scalevec::experiments {

struct GridAxis {
  std::string key;                     // dotted path into the run configuration
  std::vector<nlohmann::json> values;  // in file order
};

// The key of a setting under which it names the alternative that it takes; not one without.
inline constexpr const char* kAlternative = "alternative";

struct Cell {
  std::string name;  // its folder inside the folder of the comparison: "plain/lr=0.003,seed=1"
  std::string variant;
  nlohmann::json setting;  // value of every axis except the seed's, by key, and kAlternative
  std::int64_t seed = 0;
  bool tuning = false;           // true: its seed is used only to choose the setting
  nlohmann::json config;         // the run configuration as the grid states it
  std::string hash;              // of `config`, and of the trunk's if it goes on from it
  std::int64_t trunk_step = -1;  // the step of the trunk that it goes on from; -1: none. Not in the manifest
};

// The folder of the trunk inside the folder of the comparison. A cell's configuration says "model.from": "trunk@STEP",
// which becomes the path of the folder where the cell is written.
inline constexpr const char* kTrunk = "trunk";

// A search in place of all cells (search.hpp). The lr is the only axis beside the seed's.
struct Search {
  std::vector<double> start;                   // the lrs that are tried first
  std::int64_t settings = 0;                   // of a variant, at most so many are tried
  std::map<std::string, std::string> same_as;  // variant → the one whose chosen setting it is trained at
};

struct Grid {
  std::string name;
  std::vector<std::string> variants;  // in file order
  std::string baseline;
  std::string lr_key, seed_key;
  std::vector<GridAxis> axes;  // without the axis of seeds
  std::vector<std::int64_t> seeds, tuning_seeds;
  std::optional<Cell> trunk;  // the run that cells go on from, trained before them
  std::optional<Search> search;
  std::vector<Cell> cells;  // tuning seeds first, then seed by seed, so that an incomplete comparison is balanced
};

// Reads {"name", "base": {…} or "file.json" beside the grid, "variants": {name: {overrides}}, "baseline",
// "grid": {axis: […], …, the seed axis: […]}, "lr_key" ("optimizer.lr"), "seed_key" ("seed"), "tuning_seeds",
// "trunk": {"set": {overrides}, "at": step (the trunk's last), "optimizer_state" (true), "go_on" (true)},
// "search": {"start": [lrs of the axis], "settings": the most per variant, "alternatives": {variant: {overrides}},
// "same_as": {variant: variant}}}.
// Overrides are applied in the order base, `sets` ("key=value"), variant, axes. With "trunk", the trunk is the base
// with its overrides, and the "model" of every cell is {"from": the trunk, "optimizer_state", "go_on"} before the
// variant's overrides; variants and axes may set "trunk.at". Throws ConfigError.
Grid read_grid(const std::filesystem::path& file, const std::vector<std::string>& sets = {});

// The grid as stored in the folder of the comparison (compare.json): everything except the configurations, which are in
// the folders of the cells. grid_from_manifest() throws UsageError if `manifest` is not one.
nlohmann::json grid_manifest(const Grid& grid);
Grid grid_from_manifest(const nlohmann::json& manifest);

// The name of a file for `text`: letters of ASCII, digits and ._+=,- stay, and so do the bytes of other UTF-8.
std::string file_name(const std::string& text);

// Of a configuration, 16 digits.
std::string config_hash(const nlohmann::json& config);

// "lr=0.003, weight_decay=0.1", then the alternative. Keys of axes are shortened by short_key().
std::string describe_setting(const Grid& grid, const nlohmann::json& setting);

// The last word of the key of an axis, or the whole key if two axes have the same last word.
std::string short_key(const Grid& grid, const std::string& key);

}  // namespace scalevec::experiments
