#include "experiments/compare/grid.hpp"

#include <set>
#include <string>
#include <vector>

#include "experiments/errors.hpp"
#include "experiments/record/overrides.hpp"
#include "tests/compare/scratch.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;

namespace {

// Variants in an order that sorting would change.
constexpr const char* kGrid = R"({
  "name": "scales",
  "base": {"model": {"width": 64}, "steps": 10,
           "optimizer": {"lr": 1, "rules": [{"weight_decay": 0}, {"weight_decay": 0}]}},
  "variants": {
    "plain": {},
    "none": {"model.scale_vectors": false},
    "decay": {"optimizer.rules.1.weight_decay": 0.1, "optimizer": {"clip": {"max_norm": 1}}}
  },
  "grid": {"optimizer.lr": [0.003, 1e-3], "seed": [1, 2, 3]}
})";

std::string error_of(const std::string& text) {
  const Scratch scratch;
  const auto file = scratch.write("grid.json", text);
  return message_of<ConfigError>([&] { read_grid(file); });
}

// kGrid with one top-level key replaced.
std::string grid_with(const std::string& key, const json& value) {
  nlohmann::ordered_json grid = nlohmann::ordered_json::parse(kGrid);
  grid[key] = nlohmann::ordered_json::parse(value.dump());
  return grid.dump();
}

}  // namespace

TEST_CASE("a grid expands to every variant at every setting and seed") {
  const Scratch scratch;
  const Grid grid = read_grid(scratch.write("grid.json", kGrid));
  CHECK(grid.variants == std::vector<std::string>{"plain", "none", "decay"});
  CHECK(grid.baseline == "plain");
  CHECK(grid.seeds == std::vector<std::int64_t>{1, 2, 3});
  REQUIRE(grid.cells.size() == 18);
  std::set<std::string> names, hashes;
  for (const Cell& cell : grid.cells) {
    names.insert(cell.name);
    hashes.insert(cell.hash);
    CHECK(cell.config["seed"] == cell.seed);
    CHECK(cell.config["optimizer"]["lr"] == cell.setting["optimizer.lr"]);
    CHECK(cell.config["steps"] == 10);
  }
  CHECK(names.size() == 18);
  CHECK(hashes.size() == 18);
  CHECK(names.count("plain/lr=0.003,seed=1") == 1);
  CHECK(names.count("decay/lr=0.001,seed=3") == 1);
  // Seed by seed, so that a comparison that is cut short has whole seeds.
  for (size_t i = 0; i < 6; ++i) CHECK(grid.cells[i].seed == 1);
}

TEST_CASE("overrides reach into objects and arrays and merge") {
  const Scratch scratch;
  const Grid grid = read_grid(scratch.write("grid.json", kGrid));
  for (const Cell& cell : grid.cells) {
    const json& optimizer = cell.config["optimizer"];
    const bool decay = cell.variant == "decay";
    CHECK(optimizer["rules"][0]["weight_decay"] == 0);
    CHECK(optimizer["rules"][1]["weight_decay"] == json(decay ? 0.1 : 0.0));
    CHECK(optimizer.contains("clip") == decay);
    CHECK(cell.config["model"].contains("scale_vectors") == (cell.variant == "none"));
    CHECK(cell.config["model"]["width"] == 64);
  }
}

TEST_CASE("--set reaches every cell, as JSON or else as a string") {
  const Scratch scratch;
  const Grid grid = read_grid(scratch.write("grid.json", kGrid), {"model.width=32", "data.name=text", "tags=[1,2]"});
  for (const Cell& cell : grid.cells) {
    CHECK(cell.config["model"]["width"] == 32);
    CHECK(cell.config["data"]["name"] == "text");
    CHECK(cell.config["tags"] == json({1, 2}));
  }
  json config;
  CHECK(contains(message_of<ConfigError>([&] { apply_set(config, "no-equals-sign"); }), "key.path=value"));
}

TEST_CASE("the base may be a file beside the grid") {
  const Scratch scratch;
  scratch.write("sub/base.json", R"({"steps": 7})");
  const Grid grid = read_grid(
      scratch.write("sub/grid.json", R"({"base": "base.json", "variants": {"a": {}}, "grid": {"seed": [5]}})"));
  REQUIRE(grid.cells.size() == 1);
  CHECK(grid.name == "grid");
  CHECK(grid.cells[0].config == json{{"steps", 7}, {"seed", 5}});
  CHECK(grid.cells[0].name == "a/seed=5");
}

TEST_CASE("tuning seeds come first and are told apart") {
  const Scratch scratch;
  const Grid grid = read_grid(scratch.write("grid.json", grid_with("tuning_seeds", {10, 11})));
  REQUIRE(grid.cells.size() == 30);
  for (size_t i = 0; i < 30; ++i) CHECK(grid.cells[i].tuning == (i < 12));
  CHECK(contains(error_of(grid_with("tuning_seeds", {2})), "the seed 2 is also on the axis"));
}

TEST_CASE("the hash is the configuration's, not the file's") {
  const Scratch scratch;
  const std::string spaced = json::parse(kGrid).dump(4);
  const Grid a = read_grid(scratch.write("a.json", kGrid)), b = read_grid(scratch.write("b.json", spaced));
  for (const Cell& x : a.cells)
    for (const Cell& y : b.cells)
      if (x.name == y.name) CHECK(x.hash == y.hash);
  const Grid c = read_grid(scratch.write("a.json", kGrid), {"steps=11"});
  CHECK(c.cells[0].name == a.cells[0].name);
  CHECK(c.cells[0].hash != a.cells[0].hash);
}

TEST_CASE("a manifest keeps what the analysis needs") {
  const Scratch scratch;
  const Grid grid = read_grid(scratch.write("grid.json", grid_with("tuning_seeds", {10})));
  const Grid back = grid_from_manifest(json::parse(grid_manifest(grid).dump()));
  CHECK(back.variants == grid.variants);
  CHECK(back.tuning_seeds == grid.tuning_seeds);
  REQUIRE(back.cells.size() == grid.cells.size());
  for (size_t i = 0; i < grid.cells.size(); ++i) {
    CHECK(back.cells[i].name == grid.cells[i].name);
    CHECK(back.cells[i].setting == grid.cells[i].setting);
    CHECK(back.cells[i].hash == grid.cells[i].hash);
    CHECK(back.cells[i].tuning == grid.cells[i].tuning);
  }
  CHECK_THROWS_AS(grid_from_manifest(json{{"name", 3}}), UsageError);
}

TEST_CASE("a manifest that would mislead the analysis is refused") {
  const Scratch scratch;
  const json sound = grid_manifest(read_grid(scratch.write("grid.json", grid_with("tuning_seeds", {10}))));
  const auto error = [&](const char* pointer, const json& value) {
    json manifest = sound;
    manifest[json::json_pointer(pointer)] = value;
    return message_of<UsageError>([&] { grid_from_manifest(manifest); });
  };
  CHECK(contains(error("/baseline", "other"), "its baseline is none of its variants"));
  CHECK(contains(error("/cells/1/variant", "other"), "is of no variant"));
  CHECK(contains(error("/cells/1/setting", json::object()), "is not on the axis optimizer.lr"));
  CHECK(contains(error("/cells/1/setting/optimizer.lr", 77), "is not on the axis optimizer.lr"));
  CHECK(contains(error("/axes/0/values/0", "high"), "optimizer.lr"));
}

TEST_CASE("what nests beyond what recursion could follow is refused, and taken for damaged in a record") {
  const Scratch scratch;
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  CHECK(message_of<ConfigError>([&] { parse_json(deep, "x.json"); }) == "x.json: nested beyond 64 levels");
  CHECK(parse_json_if_sound(deep).is_discarded());
  const std::string allowed = std::string(60, '[') + std::string(60, ']');
  CHECK(parse_json(allowed, "x").dump() == allowed);
  CHECK(parse_json_if_sound(allowed).dump() == allowed);
  json config = json::object();
  apply_set(config, "a=" + deep);
  CHECK(config["a"].is_string());
}

TEST_CASE("axes that share a last word keep their whole keys") {
  const Scratch scratch;
  const Grid grid = read_grid(scratch.write("g.json", R"({"base": {}, "variants": {"a b": {}}, "lr_key": "x.lr",
    "grid": {"x.lr": [1], "y.lr": ["f/g"], "z.beta": [2], "seed": [0]}})"));
  CHECK(grid.cells[0].name == "a_b/x.lr=1,y.lr=f_g,beta=2,seed=0");
  CHECK(describe_setting(grid, grid.cells[0].setting) == "x.lr=1, y.lr=f/g, beta=2");
}

TEST_CASE("a grid that means nothing is refused with one line") {
  const auto error = [](const std::string& key, const json& value) { return error_of(grid_with(key, value)); };
  CHECK(contains(error("baseline", "plian"), "baseline: got \"plian\"; allowed: plain, none, decay"));
  CHECK(contains(error("varaints", {}), "did you mean \"variants\"?"));
  CHECK(contains(error("grid", {{"optimizer.lr", json::array()}, {"seed", {1}}}), "grid.optimizer.lr: got []"));
  CHECK(contains(error("grid", {{"optimizer.lr", {0.1}}}), "the axis \"seed\" is missing"));
  CHECK(contains(error("grid", {{"optimizer.lr", {-0.1}}, {"seed", {1}}}), "more than 0"));
  CHECK(contains(error("grid", {{"optimizer.lr", {0.1, 0.1}}, {"seed", {1}}}), "0.1 is given twice"));
  CHECK(contains(error("grid", {{"seed", {1, 1}}}), "the seed 1 is given twice"));
  CHECK(contains(error("grid", {{"seed", {-1}}}), "at least 0"));
  CHECK(contains(error("variants", json::object()), "one variant or more"));
  CHECK(contains(error("variants", {{"a", {{"steps.x", 1}}}}), "variants.a: steps.x: steps is 10, not an object"));
  CHECK(
      contains(error("variants", {{"a", {{"optimizer.rules.2.lr", 1}}}}), "not an index of the array optimizer.rules"));
  CHECK(contains(error("variants", {{"a", {{"seed", 4}}}}), "sets seed, which is an axis"));
  CHECK(contains(error("variants", {{"a", {{"optimizer", {{"lr", 4}}}}}}), "sets optimizer.lr, which is an axis"));
  CHECK(contains(error("variants", {{"a b", json::object()}, {"a_b", json::object()}}), "would share the folder"));
  CHECK(contains(error("base", 3), "base: got 3"));
  CHECK(contains(error("base", "absent.json"), "absent.json: cannot be read"));
  CHECK(contains(error_of("{\"base\": "), "not valid JSON"));
  json many = json::array();
  for (int i = 0; i < 400; ++i) many.push_back(i);
  CHECK(contains(error("grid", {{"seed", many}, {"a", many}, {"b", many}}), "cells; allowed: at most 100000"));
  json config = json::object();
  CHECK(contains(message_of<ConfigError>([&] { apply_set(config, "name=\xff"); }), "not UTF-8"));
}

TEST_CASE("keys with dots are quoted, null removes, and a colon replaces a whole object") {
  json config = {{"scales", {{"placements", {{"attn.v", 1}, {"attn", {{"v", 2}}}}}}},
                 {"data", {{"dir", "a"}, {"extra", 1}}},
                 {"rules", {1, 2, 3}}};
  apply_set(config, R"(scales.placements."attn.v"=5)");
  CHECK(config["scales"]["placements"]["attn.v"] == 5);
  CHECK(config["scales"]["placements"]["attn"]["v"] == 2);
  apply_set(config, R"(new."a=\"b"=1)");
  CHECK(config["new"]["a=\"b"] == 1);
  CHECK(*find_at(config, R"(scales.placements."attn.v")") == 5);
  apply_set(config, "data.dir=null");
  CHECK(config["data"] == json{{"extra", 1}});
  apply_set(config, "data.absent.deeper=null");
  CHECK(config["data"] == json{{"extra", 1}});
  apply_set(config, R"(data={"synthetic": {}, "extra": null})");
  CHECK(config["data"] == json{{"synthetic", json::object()}});
  apply_set(config, R"(data:={"dir": "b"})");
  CHECK(config["data"] == json{{"dir", "b"}});
  apply_set(config, "rules.1=null");
  CHECK(config["rules"] == json{1, 3});
  // Keys of an object that is merged are keys, as in a configuration's file, and not paths.
  apply_set(config, R"(scales={"placements": {"attn.v": 7}})");
  CHECK(config["scales"]["placements"]["attn.v"] == 7);
  CHECK(config["scales"]["placements"]["attn"]["v"] == 2);
  for (const auto& [set, part] :
       {std::pair{"a..b=1", "an empty key"}, std::pair{"\"a=1", "allowed: key.path=value"},
        std::pair{"\"a\"b=1", "a dot is missing"}, std::pair{"=1", "key.path=value"}, std::pair{":=1", "an empty key"}})
    CHECK(contains(message_of<ConfigError>([&, s = set] { apply_set(config, s); }), part));
}

TEST_CASE("a variant removes, replaces and reaches keys with dots as --set does") {
  const Scratch scratch;
  const Grid grid = read_grid(scratch.write("g.json", R"({"base": {"model": {"a": 1, "b": 2}, "note": 1},
    "variants": {"v": {"model:": {"c": 3}, "note": null, "p.\"x.y\"": 4}}, "grid": {"seed": [1]}})"));
  CHECK(grid.cells[0].config == json{{"model", {{"c", 3}}}, {"p", {{"x.y", 4}}}, {"seed", 1}});
}

TEST_CASE("names beyond ASCII get folders of their own, and the comparison's own files are no names") {
  const Scratch scratch;
  const Grid grid = read_grid(
      scratch.write("g.json", R"({"base": {}, "variants": {"γ": {}, "β": {}, "γ/2": {}}, "grid": {"seed": [1]}})"));
  REQUIRE(grid.cells.size() == 3);
  CHECK(grid.cells[0].name == "γ/seed=1");
  CHECK(grid.cells[1].name == "β/seed=1");
  CHECK(grid.cells[2].name == "γ_2/seed=1");
  for (const char* name : {"report.html", "report.json", "report_files", "compare.json"})
    CHECK(contains(error_of(grid_with("variants", {{name, json::object()}})), "allowed: another name"));
}

TEST_CASE("variants are judged on the same windows of the same data, or not at all") {
  const auto error = [](const json& base, const json& variant) {
    return error_of(
        json{{"base", base}, {"variants", {{"a", json::object()}, {"b", variant}}}, {"grid", {{"seed", {1}}}}}.dump());
  };
  const json synthetic = {{"data", {{"synthetic", json::object()}}}};
  const auto with = [&](json more) {
    json base = synthetic;
    base.update(more);
    return base;
  };
  const std::string none = "no exception";
  // Counted in batches, the windows depend on the batch size.
  const json batches = {{"validation", {{"batches", 4}}}};
  CHECK(contains(error(with(batches), {{"batch_size", 8}}), "32 sequences of 128 tokens"));
  CHECK(contains(error(with(batches), {{"batch_size", 8}}), "64 sequences of 128 tokens"));
  CHECK(contains(error(with(batches), {{"validation.batches", 8}}), "validation.sequences"));
  CHECK(error(with(batches), {{"batch_size", 8}, {"validation.batches", 8}}) == none);
  CHECK(error(with({{"validation", {{"sequences", 64}}}}), {{"batch_size", 8}}) == none);
  CHECK(error(synthetic, {{"batch_size", 8}}) == none);
  CHECK(contains(error(synthetic, {{"sequence_length", 64}}), "128 sequences of 64 tokens"));
  CHECK(error(with({{"validation", {{"sequence_length", 64}}}}), {{"sequence_length", 32}}) == none);
  CHECK(contains(error(synthetic, {{"data.synthetic.seed", 3}}), "their losses are not comparable"));
  CHECK(error({{"model", {{"type", "output_scale"}}}}, {{"batch_size", 8}}) == none);
}

TEST_CASE("the cells of a grid with a trunk go on from it") {
  Scratch scratch;
  const auto text = [](const std::string& trunk, const std::string& variants = R"({"a": {}})",
                       const std::string& axes = R"({"seed": [1, 2]})") {
    return R"({"base": {"model": {"width": 8}, "steps": 100, "schedule": {"shape": "wsd"}}, "trunk": )" + trunk +
           R"(, "variants": )" + variants + R"(, "grid": )" + axes + "}";
  };
  const Grid grid = read_grid(
      scratch.write("g.json", text(R"({"set": {"steps": 60, "schedule:": {"shape": "constant"}}})",
                                   R"({"a": {}, "early": {"trunk.at": 45}, "dp": {"model.optimizer_state": false,
                        "model.scales": "dp"}, "anew": {"model:": {"width": 9}}})")));
  REQUIRE(grid.trunk);
  CHECK(grid.trunk->config == json::parse(R"({"model": {"width": 8}, "steps": 60, "schedule": {"shape": "constant"},
                                              "checkpoint": {"every": 45, "keep": 60}})"));
  const Cell* by_name[4] = {};
  for (const Cell& cell : grid.cells)
    if (cell.seed == 1)
      by_name[std::find(grid.variants.begin(), grid.variants.end(), cell.variant) - grid.variants.begin()] = &cell;
  const auto& [a, early, dp, anew] = by_name;
  CHECK(a->config == json::parse(R"({"model": {"from": "trunk@60", "optimizer_state": true, "go_on": true}, "seed": 1,
                                     "steps": 100, "schedule": {"shape": "wsd"}})"));
  CHECK(a->trunk_step == 60);
  CHECK(early->config["model"]["from"] == "trunk@45");
  CHECK(early->trunk_step == 45);
  CHECK(dp->config["model"] ==
        json{{"from", "trunk@60"}, {"optimizer_state", false}, {"go_on", true}, {"scales", "dp"}});
  CHECK(anew->config["model"] == json{{"width", 9}});
  CHECK(anew->trunk_step == -1);
  // No checkpoint is asked for where all go on from the last step; an axis may say where.
  CHECK(!read_grid(scratch.write("g.json", text(R"({"set": {"steps": 60}})"))).trunk->config.contains("checkpoint"));
  const Grid axis =
      read_grid(scratch.write("g.json", text(R"({"set": {"steps": 60}, "optimizer_state": false, "go_on": false})",
                                             R"({"a": {}})", R"({"seed": [1], "trunk.at": [20, 30]})")));
  CHECK(axis.cells[0].name == "a/at=20,seed=1");
  CHECK(axis.cells[1].config["model"] == json{{"from", "trunk@30"}, {"optimizer_state", false}, {"go_on", false}});
  CHECK(axis.trunk->config["checkpoint"]["every"] == 10);
  // The identity of a cell includes the trunk; that of one which starts elsewhere does not.
  const Grid other = read_grid(
      scratch.write("g.json", text(R"({"set": {"steps": 60, "schedule:": {"shape": "constant", "warmup_steps": 1}}})",
                                   R"({"a": {}, "anew": {"model:": {"width": 9}}})")));
  CHECK(other.cells[0].config == a->config);
  CHECK(other.cells[0].hash != a->hash);
  CHECK(other.cells[1].hash == anew->hash);
  CHECK(other.trunk->hash != grid.trunk->hash);
  // What the folder stores.
  const json manifest = grid_manifest(grid);
  CHECK(grid_manifest(grid_from_manifest(manifest)) == manifest);

  const auto refusal = [&](const auto&... arguments) {
    return message_of<ConfigError>([&] { read_grid(scratch.write("bad.json", text(arguments...))); });
  };
  CHECK(contains(refusal(R"({"set": {"steps": 0}})"), "trunk.set"));
  CHECK(contains(refusal(R"({"set": 3})"), "trunk.set"));
  CHECK(contains(refusal(R"({"set": {}, "at": 101})"), "trunk.at"));
  CHECK(contains(refusal(R"({"set": {"steps": 60}, "until": 7})"), "trunk.until"));
  CHECK(contains(refusal(R"({"set": {"steps": 100}})"), "steps: got 100"));
  CHECK(contains(refusal(R"({"set": {"steps": 60}})", R"({"a": {"trunk.at": 61}})"), "a step from 1 to 60"));
  CHECK(contains(refusal(R"({"set": {"steps": 60}})", R"({"a": {"trunk.seed": 1}})"), "a step from 1 to 60"));
  CHECK(contains(refusal(R"({"set": {"steps": 60}})", R"({"a": {"model.scales": "dp"}})"), "optimizer_state"));
  CHECK(contains(refusal(R"({"set": {"steps": 60}})", R"({"trunk": {}})"), "another name"));
}
