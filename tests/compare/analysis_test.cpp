#include "experiments/compare/analysis.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "experiments/compare/tables.hpp"
#include "experiments/errors.hpp"
#include "tests/compare/fake_comparison.hpp"
#include "tests/compare/scratch.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

// 97.5 % quantile of Student's t with 2 degrees of freedom: α√(2/(1 − α²)) with α = 0.95.
const double kT2 = 0.95 * std::sqrt(2.0 / (1.0 - 0.95 * 0.95));

const FakeVariant kBase{"base", {{3.0, 3.0, 3.0}, {2.0, 2.1, 2.2}, {2.5, 2.5, 2.5}}};

double lr_of(const Analysis& a, std::optional<size_t> setting) {
  return setting ? a.settings[*setting]["optimizer.lr"].get<double>() : kMissing;
}

std::string all_findings(const Comparison& c, const Analysis& a) {
  std::string text;
  for (const std::string& s : findings(c.grid, a)) text += s + "\n";
  return text;
}

}  // namespace

TEST_CASE("without tuning seeds a seed's lr is chosen on the others") {
  // Seeds 1 and 2 leave lr 1 ahead (1.9 against 2.05 and 2.0); without seed 3 lr 2 is (1.85), and its own loss there
  // is 2.2.
  const Comparison c =
      fake_comparison({1, 2, 3}, {}, {1, 2, 3}, {kBase, {"a", {{1.9, 1.9, 1.9}, {1.8, 1.9, 2.2}, {1.0, 3.0, 3.0}}}});
  const Analysis a = analyse(c);
  CHECK(a.selection == Selection::leave_one_out);
  REQUIRE(a.variants.size() == 2);
  const VariantResult &base = a.variants[0], &v = a.variants[1];

  CHECK(lr_of(a, base.best) == 2.0);
  CHECK(base.edge == GridEdge::none);
  CHECK(base.own.losses == std::vector<double>{2.0, 2.1, 2.2});
  CHECK(!base.own.difference.has_value());

  CHECK(lr_of(a, v.best) == 1.0);
  CHECK(lr_of(a, v.chosen[0]) == 1.0);
  CHECK(lr_of(a, v.chosen[1]) == 1.0);
  CHECK(lr_of(a, v.chosen[2]) == 2.0);
  CHECK(v.edge == GridEdge::low);
  CHECK(v.own.losses == std::vector<double>{1.9, 1.9, 2.2});
  CHECK(v.matched.losses == std::vector<double>{1.8, 1.9, 2.2});

  // Differences −0.1, −0.2, 0 and −0.2, −0.2, 0.
  REQUIRE(v.own.difference.has_value());
  CHECK(std::abs(v.own.difference->mean - -0.1) <= 1e-12);
  CHECK(std::abs(v.own.difference->half_width - kT2 * 0.1 / std::sqrt(3.0)) <= 1e-12);
  CHECK(std::abs(v.matched.difference->mean - -0.4 / 3) <= 1e-12);
  CHECK(std::abs(v.matched.difference->sd - std::sqrt((2 * 0.04 / 9 + 0.16 / 9) / 2)) <= 1e-12);

  REQUIRE(v.curve.size() == 3);
  CHECK(v.curve[2].lr == 3.0);
  CHECK(std::abs(v.curve[2].loss.mean - 7.0 / 3) <= 1e-12);
  CHECK(contains(all_findings(c, a), "chosen on the other seeds"));
  CHECK(contains(all_findings(c, a),
                 "Best at the edge of what was tried, so that a better lr may lie outside: a (lowest"));
  CHECK(contains(all_findings(c, a), "a can't be told from base: the 95 % interval includes zero."));
}

TEST_CASE("with tuning seeds the fresh seeds have no say in the choice") {
  // On the tuning seed lr 3 is best; on the fresh ones lr 1 would be.
  const Comparison c = fake_comparison({1, 2, 3}, {10}, {1, 2},
                                       {{"base", {{3.0, 3.0, 3.0}, {2.0, 2.1, 2.2}, {2.5, 2.5, 2.5}}},
                                        {"a", {{2.0, 1.0, 1.0}, {1.9, 3.0, 3.0}, {1.5, 2.3, 2.5}}}});
  const Analysis a = analyse(c);
  CHECK(a.selection == Selection::tuning_seeds);
  CHECK(lr_of(a, a.variants[1].best) == 3.0);
  CHECK(a.variants[1].edge == GridEdge::high);
  CHECK(a.variants[1].own.losses == std::vector<double>{2.3, 2.5});
  CHECK(a.variants[1].matched.losses == std::vector<double>{3.0, 3.0});
  CHECK(a.variants[1].runs == 9);
  CHECK(contains(all_findings(c, a), "chosen on tuning seeds"));
}

TEST_CASE("a diverged run is infinitely bad for its lr and leaves its pair out") {
  const Comparison c =
      fake_comparison({1, 2, 3}, {}, {1, 2, 3},
                      {kBase,
                       {"lucky", {{2.4, 2.4, 2.4}, {2.3, 2.3, 2.3}, {0.1, 0.1, kDiverged}}},
                       {"broken", {{kDiverged, 2.0, 2.0}, {kDiverged, 2.1, 2.1}, {kDiverged, 2.2, 2.2}}},
                       {"dead", {3, {kDiverged, kDiverged, kDiverged}}}});
  const Analysis a = analyse(c);
  const VariantResult& lucky = a.variants[1];
  // Only the choice for seed 3 doesn't see the divergence: it falls for lr 3, and diverges there.
  CHECK(lr_of(a, lucky.best) == 2.0);
  CHECK(lr_of(a, lucky.chosen[0]) == 2.0);
  CHECK(lr_of(a, lucky.chosen[2]) == 3.0);
  CHECK(lucky.own.losses[2] == kDiverged);
  CHECK(lucky.own.difference->n == 2);
  CHECK(lucky.own.difference->left_out == 1);
  CHECK(lucky.diverged == 1);
  CHECK(lucky.edge == GridEdge::high);
  CHECK(lucky.curve[2].diverged == 1);

  CHECK(a.variants[2].diverged == 3);
  CHECK(a.variants[2].own.loss.n == 2);

  CHECK(a.variants[3].own.loss.n == 0);
  CHECK(a.variants[3].own.difference->n == 0);
  const std::vector<ComparisonRow> rows = comparison_rows(a);
  CHECK(rows[3].own_loss == "diverged");
  CHECK(rows[3].own_difference == "no pair");
  CHECK(rows[3].runs == "9 of 9, 9 diverged");
  CHECK(contains(rows[1].own_difference, "(2 of 3 pairs)"));
  CHECK(contains(all_findings(c, a), "Diverged runs: 1 of lucky, 3 of broken and 9 of dead."));
}

TEST_CASE("a missing cell is named, and can't make its lr the best") {
  // lr 3 would be chosen on the one seed it has.
  const Comparison c = fake_comparison({1, 2, 3}, {}, {1, 2, 3},
                                       {kBase,
                                        {"a", {{2.4, 2.4, 2.4}, {2.3, 2.3, 2.3}, {0.1, kMissing, kMissing}}},
                                        {"absent", {3, {kMissing, kMissing, kMissing}}}});
  const Analysis a = analyse(c);
  CHECK(lr_of(a, a.variants[1].best) == 2.0);
  CHECK(a.variants[1].missing == 2);
  CHECK(a.missing.size() == 11);
  CHECK(a.missing[0].second == "not started");
  CHECK(!a.variants[2].best.has_value());
  const std::vector<ComparisonRow> rows = comparison_rows(a);
  CHECK(rows[1].runs == "7 of 9, 2 missing");
  CHECK(rows[2].own_loss == "missing");
  CHECK(rows[2].own_setting == "none finished");
  CHECK(contains(all_findings(c, a), "11 of 27 cells are missing"));
}

TEST_CASE("one seed gives no interval and says that its choice flatters") {
  const Comparison c = fake_comparison({1, 2}, {}, {7}, {{"base", {{2.0}, {3.0}}}, {"a", {{2.5}, {1.5}}}});
  const Analysis a = analyse(c);
  CHECK(a.selection == Selection::same_seed);
  CHECK(comparison_rows(a)[1].own_difference == "-0.5000 (one pair: no interval)");
  CHECK(comparison_rows(a)[1].matched_difference == "+0.5000 (one pair: no interval)");
  CHECK(comparison_rows(a)[1].seeds_needed == "n/a");
  CHECK(contains(all_findings(c, a), "which flatters"));
}

TEST_CASE("an interval that excludes zero is told as a difference, with its sign") {
  const Comparison c = fake_comparison({1}, {}, {1, 2, 3},
                                       {{"base", {{2.0, 2.1, 2.2}}},
                                        {"better", {{1.50, 1.61, 1.70}}},
                                        {"worse", {{2.50, 2.61, 2.70}}},
                                        {"same", {{2.1, 2.0, 2.2}}}});
  const Analysis a = analyse(c);
  const std::string text = all_findings(c, a);
  CHECK(contains(text,
                 "better has lower loss than base, each at its own best setting: -0.4967 [-0.5110, -0.4823], also "
                 "after Holm's correction for 3 comparisons.\n"));
  CHECK(contains(text, "worse has higher loss than base, each at its own best setting: +0.5033 ["));
  CHECK(contains(text, "same can't be told from base: the 95 % interval includes zero."));
  // A single lr has no edge.
  for (const VariantResult& v : a.variants) CHECK(v.edge == GridEdge::none);
}

TEST_CASE("other axes are tuned jointly with the lr, and matched to the baseline's") {
  Comparison c;
  c.grid = {"g", {"base", "a"}, "base", "lr", "seed", {{"lr", {1, 2}}, {"decay", {0, 5}}}, {1, 2}, {}, {}};
  const auto add = [&](const char* variant, int lr, int decay, double loss) {
    for (const int seed : {1, 2}) {
      c.grid.cells.push_back({"x", variant, {{"lr", lr}, {"decay", decay}}, seed, false, {}, ""});
      c.outcomes.push_back({CellOutcome::State::done, loss + 0.25 * seed, ""});
    }
  };
  add("base", 1, 0, 4), add("base", 1, 5, 1), add("base", 2, 0, 3), add("base", 2, 5, 2);
  add("a", 1, 0, 4), add("a", 1, 5, 3), add("a", 2, 0, 0.5), add("a", 2, 5, 6);
  const Analysis a = analyse(c);
  CHECK(a.labels[*a.variants[0].best] == "lr=1, decay=5");
  CHECK(a.labels[*a.variants[1].best] == "lr=2, decay=0");
  CHECK(a.variants[1].matched.difference->mean == 2.0);
  CHECK(a.variants[1].own.difference->mean == -0.5);
  // The curve shows each lr at its best decay.
  CHECK(a.labels[a.variants[1].curve[0].setting] == "lr=1, decay=5");
  CHECK(a.variants[1].curve[0].loss.mean == 3.375);
}

TEST_CASE("cells are read from their folders, whatever state they are in") {
  const Scratch scratch;
  Grid grid;
  grid.name = "g", grid.baseline = "p", grid.lr_key = "lr", grid.seed_key = "seed";
  grid.variants = {"p"};
  grid.seeds = {1, 2, 3, 4, 5, 6};
  for (const std::int64_t s : grid.seeds)
    grid.cells.push_back({"p/seed=" + std::to_string(s), "p", nlohmann::json::object(), s, false, {}, "h"});
  scratch.write("compare.json", grid_manifest(grid).dump());
  for (const std::int64_t s : grid.seeds)
    if (s < 6) scratch.write("p/seed=" + std::to_string(s) + "/cell.json", R"({"hash": "h"})");
  scratch.write("p/seed=1/summary.json", R"({"status": "done", "val_loss": 1.5})");
  scratch.write("p/seed=2/summary.json", R"({"status": "diverged", "reason": "loss at step 3", "val_loss": null})");
  scratch.write("p/seed=3/summary.json", R"({"status": "interrupted", "val_loss": 1.0})");
  scratch.write("p/seed=4/summary.json", R"({"status": "do)");
  scratch.write("p/seed=5/summary.json", R"({"status": "done", "val_loss": null})");
  const Comparison c = load_comparison(scratch.path());
  REQUIRE(c.outcomes.size() == 6);
  CHECK(c.outcomes[0].loss == 1.5);
  CHECK(c.outcomes[1].loss == kDiverged);
  CHECK(c.outcomes[1].reason == "loss at step 3");
  for (const size_t i : {2, 3, 5}) CHECK(c.outcomes[i].state == CellOutcome::State::missing);
  // JSON writes a loss that is not finite as null.
  CHECK(c.outcomes[4].state == CellOutcome::State::diverged);
  CHECK(c.outcomes[4].loss == kDiverged);
  CHECK(c.outcomes[2].reason == "interrupted");
  CHECK(contains(c.outcomes[3].reason, "seed=4/summary.json: is not whole JSON"));
  CHECK(c.outcomes[5].reason == "not started");
  CHECK_THROWS_AS(load_comparison(scratch / "p"), UsageError);
}

TEST_CASE("a cell whose run does not fit is missing by name, and the others stand") {
  const Scratch scratch;
  Grid grid;
  grid.name = "g", grid.baseline = "p", grid.lr_key = "lr", grid.seed_key = "seed";
  grid.variants = {"p"};
  grid.seeds = {1, 2, 3, 4, 5, 6};
  for (const std::int64_t s : grid.seeds)
    grid.cells.push_back({"p/seed=" + std::to_string(s), "p", nlohmann::json::object(), s, false, {}, "h"});
  scratch.write("compare.json", grid_manifest(grid).dump());
  const auto cell = [&](int seed, const std::string& hash, const std::string& data) {
    const std::string folder = "p/seed=" + std::to_string(seed) + "/";
    if (!hash.empty()) scratch.write(folder + "cell.json", R"({"hash": ")" + hash + "\"}");
    scratch.write(folder + "summary.json", R"({"status": "done", "val_loss": 1.5, "data_hash": ")" + data + "\"}");
  };
  cell(1, "h", "aaa"), cell(2, "other", "aaa"), cell(3, "", "aaa"), cell(4, "h", "bbb"), cell(5, "h", "aaa");
  cell(6, "h", "aaa");
  scratch.write("p/seed=6/metrics.jsonl", "{\"step\": 1}\n{\"step\n{\"step\": 3}\n");
  scratch.write("p/seed=5/metrics.jsonl", "{\"step\": 1}\n{\"st");  // what a kill leaves is no damage
  const Comparison c = load_comparison(scratch.path());
  const Analysis a = analyse(c);
  CHECK(c.outcomes[0].loss == 1.5);
  CHECK(c.outcomes[4].loss == 1.5);
  REQUIRE(a.missing.size() == 4);
  CHECK(a.missing[0].first == "p/seed=2");
  CHECK(contains(a.missing[0].second, "another configuration"));
  CHECK(contains(a.missing[1].second, "cell.json"));
  CHECK(contains(a.missing[2].second, "other data"));
  CHECK(contains(a.missing[3].second, "metrics.jsonl: line 2 is not JSON"));
  CHECK(a.variants[0].done == 2);
}

TEST_CASE("a diverged setting is chosen last, and where all diverged nothing is best at an edge") {
  const Comparison c = fake_comparison({1, 2, 3}, {}, {1, 2, 3},
                                       {kBase,
                                        // Fewer cells of lr 2 are there, but lr 1 and lr 3 diverged.
                                        {"a", {{1.0, 1.0, kDiverged}, {2.0, 2.0, kMissing}, {kDiverged, 1.0, 1.0}}},
                                        {"dead", {3, {kDiverged, kDiverged, kDiverged}}}});
  const Analysis a = analyse(c);
  CHECK(lr_of(a, a.variants[1].best) == 2.0);
  CHECK(!a.variants[1].all_diverged);
  CHECK(a.variants[2].all_diverged);
  CHECK(a.variants[2].ends.empty());
  CHECK(a.variants[2].edge == GridEdge::none);
  CHECK(a.variants[2].own.losses == std::vector<double>{kDiverged, kDiverged, kDiverged});
  const std::string text = all_findings(c, a);
  CHECK(contains(text, "All runs of dead diverged."));
  CHECK(!contains(text, "dead (lowest"));
  CHECK(comparison_rows(a)[2].own_setting == "all runs diverged");
}

TEST_CASE("every axis of numbers is checked for its ends") {
  Comparison c;
  c.grid = {"g",    {"base", "a"},
            "base", "lr",
            "seed", {{"lr", {1, 2, 3}}, {"optimizer.decay", {0.2, 0.0, 0.1}}, {"form", {"x", "y"}}, {"width", {8}}},
            {1, 2}, {},
            {}};
  for (const char* variant : {"base", "a"})
    for (const int lr : {1, 2, 3})
      for (const double decay : {0.2, 0.0, 0.1})
        for (const char* form : {"x", "y"})
          for (const int seed : {1, 2}) {
            c.grid.cells.push_back({"x",
                                    variant,
                                    {{"lr", lr}, {"optimizer.decay", decay}, {"form", form}, {"width", 8}},
                                    seed,
                                    false,
                                    {},
                                    ""});
            const double best = std::string(variant) == "a" ? 0.2 : 0.1;
            c.outcomes.push_back({CellOutcome::State::done, std::abs(lr - 2) + std::abs(decay - best) + 1.0, ""});
          }
  const Analysis a = analyse(c);
  CHECK(a.variants[0].ends.empty());
  REQUIRE(a.variants[1].ends.size() == 1);
  CHECK(a.variants[1].ends[0].key == "optimizer.decay");
  CHECK(a.variants[1].ends[0].edge == GridEdge::high);
  CHECK(a.variants[1].edge == GridEdge::none);
  CHECK(contains(all_findings(c, a), "a (highest decay tried)"));
}
