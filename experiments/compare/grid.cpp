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

[[noreturn]] void refuse(const std::string& where, const json& got, const std::string& allowed) {
  throw ConfigError(not_allowed(where, got.dump(), allowed));
}

std::string value_text(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::vector<std::int64_t> read_seeds(const json& values, const std::string& where) {
  if (!values.is_array() || values.empty()) refuse(where, values, "an array of one seed or more");
  std::vector<std::int64_t> seeds;
  for (const json& v : values) {
    if (!v.is_number_integer() || v.get<std::int64_t>() < 0) refuse(where, v, "integers, at least 0");
    if (std::find(seeds.begin(), seeds.end(), v.get<std::int64_t>()) != seeds.end())
      throw ConfigError(where + ": the seed " + v.dump() + " is given twice");
    seeds.push_back(v.get<std::int64_t>());
  }
  return seeds;
}

GridAxis read_axis(const std::string& key, const json& values, bool is_lr) {
  const std::string where = "grid." + key;
  if (!values.is_array() || values.empty()) refuse(where, values, "an array of one value or more");
  GridAxis axis{key, {}};
  for (const json& v : values) {
    if (is_lr && !(v.is_number() && v.get<double>() > 0.0)) refuse(where, v, "numbers, more than 0");
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

// The overrides of the alternatives, by variant.
using Alternatives = std::map<std::string, json>;

// "beta1=0.95,beta2=0.98"
std::string overrides_text(const json& overrides) {
  std::vector<std::string> words;
  for (const auto& [key, value] : overrides.items())
    words.push_back(key.substr(key.find_last_of('.') + 1) + "=" + value_text(value));
  return joined(words, ",");
}

std::string no_variant(const std::string& name, const Grid& grid) {
  const std::string nearest = nearest_word(name, grid.variants);
  return "is no variant" +
         (nearest.empty() ? "; allowed: a name of \"variants\"" : "; did you mean \"" + nearest + "\"?");
}

bool is_variant(const json& name, const Grid& grid) {
  return std::find(grid.variants.begin(), grid.variants.end(), name) != grid.variants.end();
}

Alternatives read_alternatives(JsonReader& in, const Grid& grid) {
  Alternatives out;
  const json& given = in.value("alternatives");
  if (!given.is_object()) refuse("search.alternatives", given, "an object of overrides by variant");
  for (const auto& [variant, overrides] : given.items()) {
    const std::string where = "search.alternatives." + variant;
    if (!is_variant(variant, grid)) throw ConfigError(where + ": " + no_variant(variant, grid));
    if (!overrides.is_object() || overrides.empty()) refuse(where, overrides, "an object of overrides");
    for (const char* axis : {grid.lr_key.c_str(), grid.seed_key.c_str()})
      if (overrides.contains(axis)) throw ConfigError(where + ": sets " + axis + ", which is an axis of the grid");
    out[variant] = overrides;
  }
  return out;
}

void read_same_as(JsonReader& in, const Grid& grid, const Alternatives& alternatives, Search& search) {
  const json& given = in.value("same_as");
  if (!given.is_object()) refuse("search.same_as", given, "an object of variants by variant");
  for (const auto& [variant, other] : given.items()) {
    const std::string where = "search.same_as." + variant;
    if (!is_variant(variant, grid)) throw ConfigError(where + ": " + no_variant(variant, grid));
    if (!is_variant(other, grid) || given.contains(other.get<std::string>()))
      refuse(where, other, "a variant that is tuned itself");
    if (alternatives.count(variant) != alternatives.count(other.get<std::string>()))
      throw ConfigError("search.alternatives: one of " + variant + " and " + other.get<std::string>() +
                        ", which share their setting, has no alternative; allowed: both or none");
    search.same_as[variant] = other.get<std::string>();
  }
}

Alternatives read_search(JsonReader& reader, Grid& grid) {
  if (!reader.has("search")) return {};
  JsonReader in = reader.object("search");
  if (grid.tuning_seeds.empty())
    throw ConfigError("search: the grid has no \"tuning_seeds\"; allowed: with one or more, on which it searches");
  if (grid.axes.size() != 1 || grid.axes[0].key != grid.lr_key)
    throw ConfigError("search: works along the axis \"" + grid.lr_key +
                      "\" (lr_key); allowed: no other axis in \"grid\" than this and that of the seeds");
  Search search;
  const json& start = in.value("start");
  const std::vector<json>& values = grid.axes[0].values;
  if (!start.is_array() || start.empty()) refuse("search.start", start, "an array of learning rates of the axis");
  for (const json& lr : start) {
    if (std::find(values.begin(), values.end(), lr) == values.end())
      refuse("search.start", lr, "values of the axis \"" + grid.lr_key + "\"");
    if (std::find(search.start.begin(), search.start.end(), lr.get<double>()) != search.start.end())
      throw ConfigError("search.start: the value " + lr.dump() + " is given twice");
    search.start.push_back(lr.get<double>());
  }
  search.settings = in.integer("settings", static_cast<std::int64_t>(start.size()),
                               Range::between(static_cast<double>(start.size()), static_cast<double>(values.size())));
  Alternatives alternatives;
  if (in.has("alternatives")) alternatives = read_alternatives(in, grid);
  if (in.has("same_as")) read_same_as(in, grid, alternatives, search);
  in.finish();
  grid.search = std::move(search);
  return alternatives;
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
  if (!base.is_string()) refuse("base", base, "a configuration, or the name of its file");
  json config = read_json_file((grid_file.parent_path() / base.get<std::string>()).string());
  if (!config.is_object()) throw ConfigError(base.get<std::string>() + ": not a configuration: not an object");
  return config;
}

json variant_config(const json& base, const Grid& grid, const std::string& variant, const json& overrides) {
  const std::string where = "variants." + variant;
  if (!overrides.is_object()) refuse(where, overrides, "an object of overrides");
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
  if (grid.search) cells *= 2.0;
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
  if (!overrides.is_object()) refuse("trunk.set", overrides, "an object of overrides of the base");
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
    refuse("cell " + cell.name + ": trunk", cell.config.value("trunk", json()),
           "{\"at\": a step from 1 to " + std::to_string(last) + "}");
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
    refuse("cell " + cell.name + ": steps", *steps,
           "more than " + std::to_string(at) + ", the trunk's step that it goes on from");
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

void expand(Grid& grid, const std::map<std::string, json>& configs, const Alternatives& alternatives) {
  check_size(grid);
  check_names(grid);
  std::set<std::string> names;
  std::vector<std::pair<json, bool>> settings;
  for (const json& setting : settings_of(grid.axes))
    for (const bool alternative : {false, true})
      if (!alternative || !alternatives.empty()) settings.emplace_back(setting, alternative);
  const auto add_seed = [&](std::int64_t seed, bool tuning) {
    for (const auto& [setting, alternative] : settings)
      for (const std::string& variant : grid.variants) {
        if (tuning && grid.search && grid.search->same_as.count(variant)) continue;
        if (alternative && !alternatives.count(variant)) continue;
        Cell cell{"", variant, setting, seed, tuning, configs.at(variant), ""};
        std::string values;
        for (const GridAxis& axis : grid.axes) {
          set_at(cell.config, axis.key, setting.at(axis.key), "grid");
          values += short_key(grid, axis.key) + "=" + value_text(setting.at(axis.key)) + ",";
        }
        if (alternative) {
          const json& overrides = alternatives.at(variant);
          for (const auto& [path, value] : overrides.items())
            set_at(cell.config, path, value, "search.alternatives." + variant);
          cell.setting[kAlternative] = overrides_text(overrides);
          values += overrides_text(overrides) + ",";
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

namespace {

Grid grid_of(const json& root, const std::filesystem::path& file, const std::vector<std::string>& sets) {
  JsonReader reader(root, "");
  const auto expect = [&] {
    reader.expect(
        {"name", "base", "variants", "grid", "lr_key", "seed_key", "tuning_seeds", "baseline", "trunk", "search"});
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
  if (!variants.is_object() || variants.empty()) refuse("variants", variants, "an object of one variant or more");
  if (!axes.is_object()) refuse("grid", axes, "an object of axes");
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

  const Alternatives alternatives = read_search(reader, grid);
  std::map<std::string, json> configs;
  for (const std::string& variant : grid.variants)
    configs[variant] = variant_config(base, grid, variant, variants.at(variant));
  expand(grid, configs, alternatives);
  return grid;
}

}  // namespace

Grid read_grid(const std::filesystem::path& file, const std::vector<std::string>& sets) {
  const json root = read_json_file(file.string());
  return naming_file(file.string(), [&] { return grid_of(root, file, sets); });
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
  if (setting.contains(kAlternative)) text += ", " + setting.at(kAlternative).get<std::string>();
  return text;
}

}  // namespace scalevec::experiments
