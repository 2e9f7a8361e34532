#include "experiments/compare/spread.hpp"

#include <array>
#include <cstdio>
#include <map>
#include <set>

#include "experiments/errors.hpp"
#include "tests/compare/scratch.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

Grid example_grid(const Scratch& scratch) {
  return read_grid(scratch.write("grid.json", R"({"base": {}, "variants": {"a": {}, "b": {}, "c": {}, "d": {}},
    "grid": {"optimizer.lr": [0.1, 0.2, 0.3], "seed": [1, 2]}, "tuning_seeds": [9]})"));
}

std::string output_of(const std::string& command) {
  std::string out;
  std::FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> part;
  for (size_t n; (n = std::fread(part.data(), 1, part.size(), pipe)) > 0;) out.append(part.data(), n);
  pclose(pipe);
  return out;
}

}  // namespace

TEST_CASE("shards of a grid are disjoint, together the whole, and within a cell of equal, of each variant too") {
  const Scratch scratch;
  const Grid grid = example_grid(scratch);
  REQUIRE(grid.cells.size() == 36);
  for (size_t count = 1; count <= 40; ++count) {
    INFO(count);
    std::multiset<std::string> names;
    size_t least = grid.cells.size(), most = 0;
    std::map<std::string, std::pair<size_t, size_t>> of_variant;
    for (const std::string& variant : grid.variants) of_variant[variant] = {grid.cells.size(), 0};
    for (size_t index = 1; index <= count; ++index) {
      const Grid part = shard_of(grid, {index, count});
      CHECK(part.variants == grid.variants);
      least = std::min(least, part.cells.size());
      most = std::max(most, part.cells.size());
      std::map<std::string, size_t> variants;
      for (const Cell& cell : part.cells) {
        names.insert(cell.name);
        ++variants[cell.variant];
      }
      for (auto& [variant, range] : of_variant)
        range = {std::min(range.first, variants[variant]), std::max(range.second, variants[variant])};
    }
    for (const auto& [variant, range] : of_variant) CHECK(range.second - range.first <= 1);
    CHECK(most - least <= 1);
    CHECK(names.size() == grid.cells.size());
    CHECK(std::set<std::string>(names.begin(), names.end()).size() == grid.cells.size());
  }
}

TEST_CASE("a shard is named I/N with I from 1 to N") {
  CHECK(parse_shard("3/8").index == 3);
  CHECK(parse_shard("3/8").count == 8);
  for (const char* wrong : {"", "3", "/", "0/8", "9/8", "-1/8", "1/0", "a/b", "1/8/2", " 1/8", "1/8x", "1.0/8"}) {
    INFO(wrong);
    CHECK(message_of<UsageError>([&] { parse_shard(wrong); }).find("from 1 to N") != std::string::npos);
  }
}

TEST_CASE("one cell of a grid, and the nearest name for one that is not there") {
  const Scratch scratch;
  const Grid grid = example_grid(scratch);
  const Grid one = only_cell(grid, "b/lr=0.2,seed=1");
  REQUIRE(one.cells.size() == 1);
  CHECK(one.cells[0].config == nlohmann::json::parse(R"({"optimizer": {"lr": 0.2}, "seed": 1})"));
  CHECK(message_of<UsageError>([&] { only_cell(grid, "b/lr=0.2,seed=3"); }).find("did you mean") != std::string::npos);
  CHECK(message_of<UsageError>([&] { only_cell(grid, "x"); }).find("--list-cells") != std::string::npos);
}

TEST_CASE("a cell's command comes back word for word from a shell, in the folder it names") {
  const Scratch scratch;
  const std::filesystem::path folder = scratch / "it's a \"folder\"; $HOME";
  std::filesystem::create_directories(folder);
  const auto program =
      scratch.write("my program", "#!/bin/sh\npwd\nfor a in \"$@\"; do printf '<%s>\\n' \"$a\"; done\n");
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const CompareCall call{"grid file.json", "runs/`x`", {"a.b=\"two words\"", "c=[1, 2]", "d="}, 3};
  Cell cell;
  cell.name = "plain/lr=0.1,seed=1";
  const std::string out = output_of("cd / && { " + cell_command(call, folder, program, cell) + "; }");
  CHECK(out == folder.string() +
                   "\n<compare>\n<grid file.json>\n<--out>\n<runs/`x`>\n<--jobs>\n<3>\n<--set>\n<a.b=\"two words\">\n"
                   "<--set>\n<c=[1, 2]>\n<--set>\n<d=>\n<--cell>\n<plain/lr=0.1,seed=1>\n");
}
