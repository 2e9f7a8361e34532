#include "experiments/compare/grid.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <numeric>
#include <set>

#include "experiments/data/validation_windows.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/overrides.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/text.hpp"
#include "optim/core/random.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

constexpr int kMaxCells = 100'000;

std::vector<std::string> keys_in_file_order(const nlohmann::ordered_json& object) {
  std::vector<std::string> keys;
  for (const auto& item : object.items()) keys.push_back(item.key());
  return keys;
}

std::string value_text(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::vector<std::int64_t> read_seeds(const json& values, const std::string& where) {
  if (!values.is_array() || values.empty())
    throw ConfigError(where + ": got " + values.dump() + "; allowed: an array of one seed or more");
  std::vector<std::int64_t> seeds;
  for (const json& v : values) {
    if (!v.is_number_integer() || v.get<std::int64_t>() < 0)
      throw ConfigError(where + ": got " + v.dump() + "; allowed: integers, at least 0");
    if (std::find(seeds.begin(), seeds.end(), v.get<std::int64_t>()) != seeds.end())
      throw ConfigError(where + ": the seed " + v.dump() + " is given twice");
    seeds.push_back(v.get<std::int64_t>());
  }
  return seeds;
}

GridAxis read_axis(const std::string& key, const json& values, bool is_lr) {
  const std::string where = "grid." + key;
  if (!values.is_array() || values.empty())
    throw ConfigError(where + ": got " + values.dump() + "; allowed: an array of one value or more");
  GridAxis axis{key, {}};
  for (const json& v : values) {
    if (is_lr && !(v.is_number() && v.get<double>() > 0.0))
      throw ConfigError(where + ": got " + v.dump() + "; allowed: numbers, more than 0");
    if (std::find(axis.values.begin(), axis.values.end(), v) != axis.values.end())
      throw ConfigError(where + ": the value " + v.dump() + " is given twice");
    axis.values.push_back(v);
  }
  return axis;
}

// An axis decides its key in every cell: what --set gave there would be lost.
void check_sets(const Grid& grid, const std::vector<std::string>& sets, const json& before, const json& after) {
  std::vector<std::string> keys{grid.seed_key};
  for (const GridAxis& axis : grid.axes) keys.push_back(axis.key);
  for (const std::string& key : keys) {
    const json *old = find_at(before, key), *now = find_at(after, key);
    bool lost = (old == nullptr) != (now == nullptr) || (old && *old != *now);
    for (const std::string& set : sets) lost = lost || set.starts_with(key + "=");
    if (lost)
      throw ConfigError("--set: sets " + key + ", which is an axis of the grid; allowed: other keys, or the axis \"" +
                        key + "\" changed in the grid's file");
  }
}

// Every combination of the axes' values, the last axis fastest.
std::vector<json> settings_of(const std::vector<GridAxis>& axes) {
  std::vector<json> settings{json::object()};
  for (const GridAxis& axis : axes) {
    std::vector<json> longer;
    for (const json& setting : settings)
      for (const json& value : axis.values) {
        longer.push_back(setting);
        longer.back()[axis.key] = value;
      }
    settings = std::move(longer);
  }
  return settings;
}

json read_base(const json& base, const std::filesystem::path& grid_file) {
  if (base.is_object()) return base;
  if (!base.is_string())
    throw ConfigError("base: got " + base.dump() + "; allowed: a configuration, or the name of its file");
  json config = read_json_file((grid_file.parent_path() / base.get<std::string>()).string());
  if (!config.is_object()) throw ConfigError(base.get<std::string>() + ": not a configuration: not an object");
  return config;
}

json variant_config(const json& base, const Grid& grid, const std::string& variant, const json& overrides) {
  const std::string where = "variants." + variant;
  if (!overrides.is_object())
    throw ConfigError(where + ": got " + overrides.dump() + "; allowed: an object of overrides");
  json config = base;
  for (const auto& [path, value] : overrides.items()) set_at(config, path, value, where);
  std::vector<std::string> axis_keys{grid.seed_key};
  for (const GridAxis& axis : grid.axes) axis_keys.push_back(axis.key);
  for (const std::string& key : axis_keys) {
    const json* before = find_at(base, key);
    const json* after = find_at(config, key);
    if (after && !(before && *before == *after))
      throw ConfigError(where + ": sets " + key + ", which is an axis of the grid");
  }
  return config;
}

// Before any of them is made: axes multiply.
void check_size(const Grid& grid) {
  double cells = static_cast<double>(grid.variants.size() * (grid.seeds.size() + grid.tuning_seeds.size()));
  for (const GridAxis& axis : grid.axes) cells *= static_cast<double>(axis.values.size());
  if (cells > kMaxCells) {
    throw ConfigError(printed("grid: its axes multiply to %g cells; allowed: at most %lld", cells,
                              static_cast<long long>(kMaxCells)));
  }
}

// A variant's folder must not stand where the comparison's own files go.
void check_names(const Grid& grid) {
  for (const std::string& variant : grid.variants)
    for (const char* own : {"compare.json", "report.html", "report.json", "report_files", kTrunk})
      if (file_name(variant) == own && (own != kTrunk || grid.trunk))
        throw ConfigError("variants." + variant + ": the comparison writes a file of this name; allowed: another name");
}

// Every cell's validation loss must be a mean over the same windows of the same data.
void check_validation(const Grid& grid) {
  const Cell* first = nullptr;
  ValidationWindows expected;
  for (const Cell& cell : grid.cells) {
    const ValidationWindows windows = validation_windows(cell.config);
    if (windows.sequences == 0) continue;
    if (!first) {
      first = &cell;
      expected = windows;
    }
    if (windows == expected) continue;
    const std::string cells = "cell " + cell.name + ": ";
    if (windows.data != expected.data)
      throw ConfigError(cells + "takes its data from " + windows.data.dump() + " and " + first->name + " from " +
                        expected.data.dump() +
                        ", so that their losses are not comparable; allowed: one \"data\" for all");
    throw ConfigError(
        cells + "would be validated on " + windows.words() + " and " + first->name + " on " + expected.words() +
        "; allowed: the same for all, with validation.sequences and validation.sequence_length in the base");
  }
}

// What the trunk trains; "model" and "trunk" of `base` become what its branches start from.
Cell read_trunk(JsonReader& reader, json& base) {
  JsonReader in = reader.object("trunk");
  const json& overrides = in.value("set");
  if (!overrides.is_object())
    throw ConfigError("trunk.set: got " + overrides.dump() + "; allowed: an object of overrides of the base");
  Cell trunk{kTrunk, "", json::object(), 0, false, base, ""};
  for (const auto& [path, value] : overrides.items()) set_at(trunk.config, path, value, "trunk.set");
  const json* steps = find_at(trunk.config, "steps");
  if (!steps || !steps->is_number_integer() || steps->get<std::int64_t>() < 1)
    throw ConfigError("trunk.set: says no \"steps\"; allowed: the trunk's number of steps, at least 1");
  const std::int64_t at =
      in.integer("at", steps->get<std::int64_t>(), Range::between(1, static_cast<double>(steps->get<std::int64_t>())));
  const bool state = in.boolean("optimizer_state", true), go_on = in.boolean("go_on", true);
  in.finish();
  base["trunk"] = {{"at", at}};
  base["model"] = {{"from", kTrunk}, {"optimizer_state", state}, {"go_on", go_on}};
  return trunk;
}

// Takes "trunk.at" out of a cell's configuration and puts it into "model.from".
void branch_off(Cell& cell, const Grid& grid) {
  const std::int64_t last = grid.trunk->config.at("steps").get<std::int64_t>();
  const json* given = find_at(cell.config, "trunk.at");
  if (!given || cell.config.at("trunk").size() != 1 || !given->is_number_integer() || given->get<std::int64_t>() < 1 ||
      given->get<std::int64_t>() > last)
    throw ConfigError("cell " + cell.name + ": trunk: got " + cell.config.value("trunk", json()).dump() +
                      "; allowed: {\"at\": a step from 1 to " + std::to_string(last) + "}");
  const std::int64_t at = given->get<std::int64_t>();
  cell.config.erase("trunk");
  const json* from = find_at(cell.config, "model.from");
  if (!from || *from != kTrunk) return;  // a variant that starts elsewhere
  cell.trunk_step = at;
  cell.config["model"]["from"] = std::string(kTrunk) + "@" + std::to_string(at);
  const auto is_true = [&](const char* key) {
    const json* value = find_at(cell.config, key);
    return value && *value == true;
  };
  if (is_true("model.optimizer_state") && find_at(cell.config, "model.scales"))
    throw ConfigError(
        "cell " + cell.name +
        ": model.scales: the optimizer's state of the trunk does not fit other scales; allowed: with \"trunk\": "
        "{\"optimizer_state\": false}, for all variants alike");
  const json* steps = find_at(cell.config, "steps");
  if (is_true("model.go_on") && steps && steps->is_number_integer() && steps->get<std::int64_t>() <= at)
    throw ConfigError("cell " + cell.name + ": steps: got " + steps->dump() + "; allowed: more than " +
                      std::to_string(at) + ", the trunk's step that it goes on from");
}

// The trunk keeps a checkpoint of every step that a cell goes on from. That of its last step is written anyway.
void keep_checkpoints(Grid& grid) {
  const std::int64_t last = grid.trunk->config.at("steps").get<std::int64_t>();
  std::int64_t every = 0;
  for (const Cell& cell : grid.cells)
    if (cell.trunk_step > 0 && cell.trunk_step < last) every = std::gcd(every, cell.trunk_step);
  if (every > 0) {
    set_at(grid.trunk->config, "checkpoint.every", every, "trunk");
    set_at(grid.trunk->config, "checkpoint.keep", last, "trunk");
  }
  grid.trunk->hash = config_hash(grid.trunk->config);
  for (Cell& cell : grid.cells)
    if (cell.trunk_step > 0) cell.hash = config_hash({cell.config, grid.trunk->config});
}

void expand(Grid& grid, const std::map<std::string, json>& configs) {
  check_size(grid);
  check_names(grid);
  std::set<std::string> names;
  const std::vector<json> settings = settings_of(grid.axes);
  const auto add_seed = [&](std::int64_t seed, bool tuning) {
    for (const json& setting : settings)
      for (const std::string& variant : grid.variants) {
        Cell cell{"", variant, setting, seed, tuning, configs.at(variant), ""};
        std::string values;
        for (const GridAxis& axis : grid.axes) {
          set_at(cell.config, axis.key, setting.at(axis.key), "grid");
          values += short_key(grid, axis.key) + "=" + value_text(setting.at(axis.key)) + ",";
        }
        set_at(cell.config, grid.seed_key, seed, "grid");
        values += short_key(grid, grid.seed_key) + "=" + std::to_string(seed);
        cell.name = file_name(variant) + "/" + file_name(values);
        if (!names.insert(cell.name).second)
          throw ConfigError("variants." + variant + ": its cells and another's would share the folder " + cell.name);
        if (grid.trunk) branch_off(cell, grid);
        cell.hash = config_hash(cell.config);
        grid.cells.push_back(std::move(cell));
      }
  };
  for (const std::int64_t seed : grid.tuning_seeds) add_seed(seed, true);
  for (const std::int64_t seed : grid.seeds) add_seed(seed, false);
  if (grid.trunk) keep_checkpoints(grid);
  check_validation(grid);
}

}  // namespace

std::string file_name(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += static_cast<unsigned char>(c) >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) ||
                   std::string_view("._+=,-").find(c) != std::string_view::npos
               ? c
               : '_';
  if (out.empty() || out.front() == '.') out.insert(out.begin(), '_');
  return out;
}

std::string config_hash(const json& config) {
  return printed("%016llx", static_cast<unsigned long long>(stream_of(config.dump())));
}

Grid read_grid(const std::filesystem::path& file, const std::vector<std::string>& sets) {
  const json root = read_json_file(file.string());
  JsonReader reader(root, "");
  const auto expect = [&] {
    reader.expect({"name", "base", "variants", "grid", "lr_key", "seed_key", "tuning_seeds", "baseline", "trunk"});
  };
  if (reader.has("variants") || reader.has("grid")) expect();
  if (!reader.has("base"))
    throw ConfigError(file.string() +
                      ": not a comparison: it has no \"base\" (what all runs share), \"variants\" and \"grid\"");
  expect();
  Grid grid;
  grid.name = reader.string("name", file.stem().string());
  json base = read_base(reader.value("base"), file);
  const json unset = base;
  for (const std::string& set : sets) apply_set(base, set);
  const json set_base = base;
  if (reader.has("trunk")) grid.trunk = read_trunk(reader, base);
  const json& variants = reader.value("variants");
  const json& axes = reader.value("grid");
  if (!variants.is_object() || variants.empty())
    throw ConfigError("variants: got " + variants.dump() + "; allowed: an object of one variant or more");
  if (!axes.is_object()) throw ConfigError("grid: got " + axes.dump() + "; allowed: an object of axes");
  grid.lr_key = reader.string("lr_key", "optimizer.lr");
  grid.seed_key = reader.string("seed_key", "seed");
  const bool tunes = reader.has("tuning_seeds");
  if (tunes) grid.tuning_seeds = read_seeds(reader.value("tuning_seeds"), "tuning_seeds");

  // The file's order is the order of the report's rows, which a sorted object does not keep.
  const auto ordered = nlohmann::ordered_json::parse(read_whole(file), nullptr, true, true);
  grid.variants = keys_in_file_order(ordered.at("variants"));
  grid.baseline = reader.choice("baseline", grid.variants.front(), grid.variants);

  for (const std::string& key : keys_in_file_order(ordered.at("grid"))) {
    if (key == grid.seed_key)
      grid.seeds = read_seeds(axes.at(key), "grid." + key);
    else
      grid.axes.push_back(read_axis(key, axes.at(key), key == grid.lr_key));
  }
  if (grid.seeds.empty())
    throw ConfigError("grid: the axis \"" + grid.seed_key + "\" is missing; allowed: an array of seeds");
  check_sets(grid, sets, unset, set_base);
  for (const std::int64_t seed : grid.tuning_seeds)
    if (std::find(grid.seeds.begin(), grid.seeds.end(), seed) != grid.seeds.end())
      throw ConfigError("tuning_seeds: the seed " + std::to_string(seed) + " is also on the axis \"" + grid.seed_key +
                        "\"; the comparison needs fresh seeds");

  std::map<std::string, json> configs;
  for (const std::string& variant : grid.variants)
    configs[variant] = variant_config(base, grid, variant, variants.at(variant));
  expand(grid, configs);
  return grid;
}

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
  }
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

std::string short_key(const Grid& grid, const std::string& key) {
  const auto last_word = [](const std::string& k) { return k.substr(k.find_last_of('.') + 1); };
  const std::string word = last_word(key);
  int sharing = last_word(grid.seed_key) == word;
  for (const GridAxis& axis : grid.axes) sharing += last_word(axis.key) == word;
  return sharing > 1 ? key : word;
}

std::string describe_setting(const Grid& grid, const json& setting) {
  std::string text;
  for (const GridAxis& axis : grid.axes)
    text += (text.empty() ? "" : ", ") + short_key(grid, axis.key) + "=" + value_text(setting.at(axis.key));
  return text;
}

}  // namespace scalevec::experiments
