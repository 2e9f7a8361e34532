#include "experiments/compare/search.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "experiments/errors.hpp"
#include "tests/compare/scratch.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;
using State = CellOutcome::State;

namespace {

json search_grid() {
  return json::parse(R"({
  "base": {"optimizer": {"lr": 1, "beta2": 0.95}, "steps": 10},
  "variants": {"adamw": {}, "lion": {"optimizer.method": "lion"}, "own": {"optimizer.own": true}},
  "tuning_seeds": [7, 8],
  "grid": {"optimizer.lr": [0.03, 0.1, 0.3, 1, 3, 10, 30], "seed": [1, 2, 3]},
  "search": {"start": [0.3, 1, 3], "settings": 4, "alternatives": {"adamw": {"optimizer.beta2": 0.99}, "own": {"optimizer.beta2": 0.9}},
             "same_as": {"own": "adamw"}}
})");
}

Grid read(const json& text) {
  const Scratch scratch;
  return read_grid(scratch.write("grid.json", text.dump()));
}

// Behind the name of the file, which leads it.
std::string error_of(const json& text) {
  const std::string message = message_of<ConfigError>([&] { read(text); }), file = "grid.json: ";
  const std::size_t at = message.find(file);
  CHECK(at != std::string::npos);
  return message.substr(at == std::string::npos ? 0 : at + file.size());
}

std::string error_of(const std::string& pointer, const json& value) {
  json text = search_grid();
  text[json::json_pointer(pointer)] = value;
  return error_of(text);
}

// Losses of a setting, by lr and whether it is the alternative's.
using Table = std::map<std::pair<double, bool>, double>;

struct Walk {
  Grid grid;
  std::vector<CellOutcome> outcomes;

  explicit Walk(const Grid& g) : grid(g), outcomes(g.cells.size()) {
    for (CellOutcome& o : outcomes) o = {State::missing, std::nan(""), "", ""};
  }

  static std::pair<double, bool> key(const Cell& cell) {
    return {cell.setting.at("optimizer.lr").get<double>(), cell.setting.contains(kAlternative)};
  }

  // Finishes needed cells, some at a time in a random order, until nothing is needed. Fails if the set ever shrinks.
  std::set<size_t> go(const std::map<std::string, Table>& losses, std::mt19937& random) {
    std::set<size_t> before;
    for (;;) {
      const std::vector<size_t> needed = needed_cells(grid, outcomes);
      const std::set<size_t> now(needed.begin(), needed.end());
      REQUIRE(std::includes(now.begin(), now.end(), before.begin(), before.end()));
      std::vector<size_t> open;
      for (const size_t i : needed)
        if (outcomes[i].state == State::missing) open.push_back(i);
      if (open.empty()) return now;
      std::shuffle(open.begin(), open.end(), random);
      open.resize(1 + random() % open.size());
      for (const size_t i : open) {
        const double loss = losses.at(grid.cells[i].variant).at(key(grid.cells[i]));
        outcomes[i] = {std::isinf(loss) ? State::diverged : State::done, loss, "", ""};
      }
      before = now;
    }
  }
};

std::map<std::string, Table> random_losses(const Grid& grid, bool unimodal, std::mt19937& random) {
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  std::map<std::string, Table> out;
  for (const std::string& variant : grid.variants) {
    const double at = std::log(0.03) + uniform(random) * std::log(1000.0);
    for (const json& v : grid.axes[0].values)
      for (const bool alternative : {false, true}) {
        const double lr = v.get<double>();
        double loss = unimodal ? std::abs(std::log(lr) - at) : uniform(random);
        if (alternative) loss += uniform(random) - 0.5;
        if (!unimodal && random() % 6 == 0) loss = INFINITY;
        out[variant][{lr, alternative}] = loss;
      }
  }
  return out;
}

}  // namespace

TEST_CASE("a search tunes every variant with the same number of settings and compares each at its best") {
  std::mt19937 random(20261129);
  const Grid grid = read(search_grid());
  for (int round = 0; round < 400; ++round) {
    const bool unimodal = round % 2 == 0;
    const auto losses = random_losses(grid, unimodal, random);
    Walk walk(grid);
    const std::set<size_t> needed = walk.go(losses, random);
    std::pair<double, bool> chosen_of_adamw;
    bool adamw_compares = false;
    for (const std::string& variant : grid.variants) {
      std::map<std::pair<double, bool>, std::set<std::int64_t>> tuned, compared;
      for (const size_t i : needed)
        if (grid.cells[i].variant == variant)
          (grid.cells[i].tuning ? tuned : compared)[Walk::key(grid.cells[i])].insert(grid.cells[i].seed);
      INFO("round " << round << ", " << variant);
      if (variant == "own") {
        CHECK(tuned.empty());
        CHECK(compared.size() == (adamw_compares ? 1 : 0));
        if (adamw_compares) CHECK(compared.begin()->first == chosen_of_adamw);
        continue;
      }
      REQUIRE(tuned.size() == 4);
      const Table& table = losses.at(variant);
      std::set<double> lrs;
      std::pair<double, bool> best{0.0, false};
      double least = INFINITY;
      for (const auto& [setting, seeds] : tuned) {
        CHECK(seeds == std::set<std::int64_t>{7, 8});
        if (!setting.second) lrs.insert(setting.first);
        if (table.at(setting) < least) {
          least = table.at(setting);
          best = setting;
        }
      }
      // The lrs are one stretch of the axis around the start.
      const std::vector<double> axis{0.03, 0.1, 0.3, 1, 3, 10, 30};
      const auto first = std::find(axis.begin(), axis.end(), *lrs.begin());
      CHECK(std::equal(lrs.begin(), lrs.end(), first));
      CHECK((lrs.count(0.3) && lrs.count(1) && lrs.count(3)));
      if (lrs.size() == 3) {
        REQUIRE(variant == "adamw");  // has an alternative; it is tried at the best lr, which lies inside
        CHECK(std::min(table.at({0.3, false}), table.at({3, false})) >= table.at({1, false}));
        CHECK(tuned.count({1, true}));
      } else if (variant == "adamw") {
        CHECK(table.at({1, false}) >= std::min(table.at({0.3, false}), table.at({3, false})));
      }
      if (unimodal) {
        double global = INFINITY;
        for (const double lr : {0.1, 0.3, 1.0, 3.0, 10.0}) global = std::min(global, table.at({lr, false}));
        CHECK(least <= global);
      }
      if (std::isinf(least)) {
        CHECK(compared.empty());
      } else {
        REQUIRE(compared.size() == 1);
        CHECK(compared.begin()->first == best);
        CHECK(compared.begin()->second == std::set<std::int64_t>{1, 2, 3});
      }
      if (variant == "adamw") {
        chosen_of_adamw = best;
        adamw_compares = std::isfinite(least);
      }
    }
  }
}

TEST_CASE(
    "the analysis of a search names no cell that it does not need, and takes another's setting where it says so") {
  std::mt19937 random(5);
  Comparison comparison;
  comparison.grid = grid_from_manifest(grid_manifest(read(search_grid())));
  auto losses = random_losses(comparison.grid, true, random);
  losses["adamw"] = {};
  for (const double lr : {0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0}) {
    losses["adamw"][{lr, false}] = std::abs(std::log(lr)) + 1.0;
    losses["adamw"][{lr, true}] = 0.5;  // found at lr 1 alone
    losses["lion"][{lr, false}] = std::abs(std::log(lr / 30.0));
  }
  Walk walk(comparison.grid);
  walk.go(losses, random);
  comparison.outcomes = walk.outcomes;
  const Analysis analysis = analyse(comparison);
  CHECK(analysis.missing.empty());
  const VariantResult &adamw = analysis.variants[0], &lion = analysis.variants[1], &own = analysis.variants[2];
  CHECK(analysis.labels[*adamw.best] == "lr=1, beta2=0.99");
  CHECK(analysis.labels[*own.best] == "lr=1, beta2=0.9");
  CHECK(adamw.edge == GridEdge::none);
  CHECK(analysis.labels[*lion.best] == "lr=10");  // the fourth setting
  CHECK(lion.edge == GridEdge::high);
  CHECK(adamw.runs == 11);
  CHECK(own.runs == 3);
  CHECK(adamw.curve.size() == 3);
  CHECK(adamw.matched.losses.empty());
  CHECK(own.own.difference->n == 3);
}

TEST_CASE("what a search cannot be is refused with its place") {
  CHECK(error_of("/search/start", json::array({0.3, 2})) ==
        "search.start: got 2; allowed: values of the axis \"optimizer.lr\"");
  CHECK(error_of("/search/start", json::array({1, 1})) == "search.start: the value 1 is given twice");
  CHECK(error_of("/search/settings", 2).find("search.settings") != std::string::npos);
  CHECK(error_of("/search/settings", 8).find("search.settings") != std::string::npos);
  CHECK(error_of("/search/alternatives", json{{"adam", {{"optimizer.beta2", 1}}}}) ==
        "search.alternatives.adam: is no variant; did you mean \"adamw\"?");
  CHECK(error_of("/search/alternatives/adamw", json{{"optimizer.lr", 1}}) ==
        "search.alternatives.adamw: sets optimizer.lr, which is an axis of the grid");
  CHECK(error_of("/search/same_as", json{{"own", "own"}}) ==
        "search.same_as.own: got \"own\"; allowed: a variant that is tuned itself");
  CHECK(error_of("/search/same_as", json{{"own", "lion"}}).find("both or none") != std::string::npos);
  CHECK(error_of("/grid/steps", json::array({1, 2})).find("search: works along the axis \"optimizer.lr\"") == 0);
  json text = search_grid();
  text.erase("tuning_seeds");
  CHECK(error_of(text).find("search: the grid has no \"tuning_seeds\"") == 0);
}
