#include "experiments/claims/claim.hpp"

#include <cmath>

#include "experiments/claims/plan.hpp"
#include "experiments/errors.hpp"
#include "tests/claims/fake_ledger.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

std::string refusal(const std::string& file, const std::string& from, const std::string& to) {
  return message_of<ConfigError>([&] { read_ledger(with_file(fake_ledger(), file, from, to)); });
}

// Losses by run name; a run that is not there was not tried.
Outcomes outcomes_of(const std::map<std::string, double>& losses) {
  return [&losses](const std::string& run) -> std::optional<CellOutcome> {
    const auto it = losses.find(run);
    if (it == losses.end()) return std::nullopt;
    if (std::isinf(it->second)) return CellOutcome{CellOutcome::State::diverged, it->second, "loss at step 2"};
    return CellOutcome{CellOutcome::State::done, it->second, ""};
  };
}

std::int64_t twelve(const Claim&, const Contrast&) { return 12; }

}  // namespace

TEST_CASE("the built-in ledger states every claim, at every tier") {
  const Ledger ledger = read_ledger(built_in_ledger());
  std::vector<std::string> ids;
  for (const Claim& c : ledger.claims) {
    ids.push_back(c.id);
    CHECK(c.hash.size() == 64);
    CHECK(c.statement.size() > 40);
    for (const char* tier : {"quick", "standard", "gpu", "full"}) {
      const TierChoice choice = ledger.choice(c, tier);
      CHECK(choice.looks.size() >= 1);
      for (const Variant& variant : c.variants)
        CHECK(ledger.variant_config(c, variant, tier, "english-bytes").at("steps").get<int>() > 0);
      if (!c.judged || !ledger.runs_at(c, tier) || !ledger.tiers.at(tier).decides) continue;
      // What decides is tuned by a fit, on two seeds or more.
      CHECK(choice.lrs.size() >= kFewestLrs);
      for (const Variant& variant : c.variants) {
        CHECK(choice.tuning_seeds.size() >= 2);
        CHECK(variant.most_tuning_seeds != 1);
      }
    }
  }
  CHECK(ids == std::vector<std::string>{"removal", "decay-input", "decay-output", "placement", "branches", "magnitude",
                                        "unified", "unified-muon", "learning-rate", "overhead", "scaling", "tokens",
                                        "amplification", "rotation", "rotation-run", "noise-ratio"});
  // Two texts for every claim but the ladder, three for the headline claims; removal has two contrasts.
  CHECK(ledger.hypotheses("standard", 1) == 3 * 4 + 2 * 6 + 1);
  CHECK(ledger.runs_on(ledger.claim("unified"), "standard", "english-bpe"));
  CHECK(!ledger.runs_on(ledger.claim("branches"), "standard", "english-bpe"));
  CHECK(!ledger.runs_on(ledger.claim("branches"), "gpu", "english-bytes"));
  // Half the steps where a token is longer.
  const Claim& unified = ledger.claim("unified");
  CHECK(ledger.variant_config(unified, unified.variants[0], "standard", "english-bpe").at("steps").get<int>() * 2 ==
        ledger.variant_config(unified, unified.variants[0], "standard", "code-bytes").at("steps").get<int>());
}

TEST_CASE("a claim's file is read strictly") {
  CHECK(contains(refusal("good.json", "\"better\": \"better\", \"decides\"", "\"better\": \"beter\", \"decides\""),
                 "did you mean \"better\"?"));
  CHECK(contains(refusal("good.json", "\"rule\"", "\"rul\""), "rul"));
  CHECK(contains(refusal("good.json", "0.01", "-1"), "good.json.smallest_effect: got -1"));
  CHECK(contains(refusal("good.json", "\"reading\": \"confirmed\"", "\"reading\": \"true\""),
                 "confirmed, contradicted, conditional, silent"));
  CHECK(contains(refusal("good.json", ", \"decides\": true", ""), "at least one that decides"));
  CHECK(contains(refusal("good.json", "\"id\": \"good\"", "\"id\": \"other\""), "the file's name"));
  CHECK(contains(refusal("setup.json", "[2e-3, 4e-3", "[4e-3, 2e-3"), "rising"));
  CHECK(contains(refusal("setup.json", "[2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2]", "[2e-3, 4e-3, 8e-3]"), "four at least"));
  CHECK(contains(refusal("setup.json", "[4, 8, 12]", "[4, 4, 12]"), "rising"));
  CHECK(contains(refusal("setup.json", "[4, 8, 12]", "[1, 4]"), "looks"));
  CHECK(
      contains(refusal("good.json", "{\"set\": {\"effect\": -0.05}}", "{\"lr_law\": [\"plain\"]}"), "three variants"));
  const Ledger added = read_ledger(with_file(fake_ledger(), "setup.json", "\"good\", \"bad\"", "\"bad\""));
  CHECK(added.claims.front().id == "bad");
  CHECK(added.claims.back().id == "good");
  const Ledger ledger = read_ledger(fake_ledger());
  CHECK(
      contains(message_of<UsageError>([&] { Plan(ledger, "standard", {"goud"}, Text{}); }), "did you mean \"good\"?"));
}

TEST_CASE("a claim's hash follows from its file and the set-up") {
  const Ledger before = read_ledger(fake_ledger());
  const Ledger other = read_ledger(with_file(fake_ledger(), "good.json", "is better.", "is better!"));
  CHECK(before.claims[0].hash != other.claims[0].hash);
  CHECK(before.claims[1].hash == other.claims[1].hash);
  const Ledger setup = read_ledger(with_file(fake_ledger(), "setup.json", "[4, 8, 12]", "[4, 8, 13]"));
  CHECK(before.claims[1].hash != setup.claims[1].hash);
}

TEST_CASE("claims share their baseline's runs, and tuning comes before comparison") {
  const Ledger ledger = read_ledger(fake_ledger());
  const Plan plan(ledger, "standard", {}, Text{});
  std::map<std::string, double> losses;
  const auto first = plan.wanted(outcomes_of(losses), twelve);
  CHECK(first.size() == 3u * 5 * 2);  // variants × lrs × tuning seeds; the baseline once
  for (const Cell& c : first) {
    CHECK(c.tuning);
    const double lr = c.config.at("optimizer").at("lr");
    losses[c.name] = std::pow(std::log(lr / 8e-3), 2);
  }
  CHECK(plan.wanted(outcomes_of(losses), [](const Claim&, const Contrast&) { return 0; }).empty());
  const auto second = plan.wanted(outcomes_of(losses), twelve);
  // Own and matched lr are the same, 0.008: one run for both.
  CHECK(second.size() == 3u * 12);
  for (size_t i = 0; i + 1 < second.size(); ++i) CHECK(second[i].seed <= second[i + 1].seed);
  for (const Cell& c : second) {
    CHECK(!c.tuning);
    CHECK(c.config.at("optimizer").at("lr") == 8e-3);
    losses[c.name] = 1.0;
  }
  CHECK(plan.wanted(outcomes_of(losses), twelve).empty());
  // A part of the ledger names its runs as the whole does.
  for (const Cell& c : Plan(ledger, "standard", {"bad"}, Text{}).wanted(outcomes_of({}), twelve))
    CHECK(losses.count(c.name));
}

TEST_CASE("a variant may be tuned on fewer seeds than its baseline") {
  const Ledger ledger = read_ledger(with_file(fake_ledger(), "good.json", "{\"set\": {\"effect\": -0.05}}",
                                              "{\"most_tuning_seeds\": 1, \"set\": {\"effect\": -0.05}}"));
  const Plan plan(ledger, "standard", {"good"}, Text{});
  std::map<std::string, int> cells;
  for (const Cell& c : plan.wanted(outcomes_of({}), twelve)) ++cells[c.variant];
  REQUIRE(cells.size() == 2);
  for (const auto& [variant, count] : cells) CHECK(count == (variant.starts_with("synthetic/better") ? 5 : 10));
}

TEST_CASE("the grid grows where the vertex lies outside it, and toward an lr that diverges by halves") {
  const Ledger ledger = read_ledger(fake_ledger());
  const Plan plan(ledger, "standard", {"good"}, Text{});
  const Claim& claim = *plan.claims()[0];
  std::map<std::string, double> losses;
  const auto make = [&](auto loss) {
    for (const Cell& c : plan.wanted(outcomes_of(losses), twelve))
      if (c.tuning) losses[c.name] = loss(c.config.at("optimizer").at("lr").template get<double>());
  };
  const auto parabola = [](double at) { return [at](double lr) { return std::pow(std::log(lr / at), 2); }; };
  make(parabola(5e-2));
  Tuning t = plan.tuning(claim, "plain", outcomes_of(losses));
  CHECK(!t.best);
  REQUIRE(t.fit.has_value());
  CHECK(t.fit->state == VertexFit::State::above);
  REQUIRE(t.wanted.size() == 2);
  CHECK(t.wanted[0].first == Approx(6.4e-2));
  make(parabola(5e-2));
  t = plan.tuning(claim, "plain", outcomes_of(losses));
  CHECK(t.best == 5e-2);
  CHECK(t.state == Tuning::State::tunable);

  losses.clear();
  for (int i = 0; i < 3; ++i) make([](double lr) { return lr > 3.2e-2 ? INFINITY : std::pow(std::log(lr / 5e-2), 2); });
  t = plan.tuning(claim, "plain", outcomes_of(losses));
  CHECK(!t.best);
  CHECK(t.state == Tuning::State::at_edge);
  // 0.064 diverged, and so does what lies between.
  CHECK(t.curve.back().lr == Approx(6.4e-2));
  CHECK(t.curve[t.curve.size() - 2].lr == Approx(std::sqrt(3.2e-2 * 6.4e-2)).epsilon(1e-4));

  losses.clear();
  for (int i = 0; i < 5; ++i) make([](double lr) { return std::log(lr); });  // the less the better
  t = plan.tuning(claim, "plain", outcomes_of(losses));
  CHECK(!t.best);
  CHECK(t.curve.front().lr == Approx(5e-4));
  CHECK(t.state == Tuning::State::at_edge);
  CHECK(contains(t.problem, "lies below"));

  losses.clear();
  make([](double) { return INFINITY; });
  CHECK(plan.tuning(claim, "plain", outcomes_of(losses)).state == Tuning::State::diverges);
}

TEST_CASE("a variant takes its lr from a power law in width through others' fits") {
  auto files = with_file(
      fake_ledger(), "good.json", "\"variants\": {\"better\": {\"set\": {\"effect\": -0.05}}}",
      "\"variants\": {\"a\": {\"set\": {\"model.width\": 16}}, \"b\": {\"set\": {\"model.width\": 32}}, \"c\": "
      "{\"set\": {\"model.width\": 64}}, \"better\": {\"set\": {\"model.width\": 256}, \"lr_law\": [\"a\", "
      "\"b\", \"c\"]}}");
  files = with_file(files, "setup.json", "\"effect\": 0,", "\"effect\": 0, \"model\": {\"width\": 8},");
  const Ledger ledger = read_ledger(files);
  const Plan plan(ledger, "standard", {"good"}, Text{});
  const Claim& claim = *plan.claims()[0];
  std::map<std::string, double> losses;
  CHECK(!plan.tuning(claim, "better", outcomes_of(losses)).best);
  for (const Cell& c : plan.wanted(outcomes_of(losses), twelve)) {
    // The best lr is 0.032·(width/16)^(−1/2), and so 0.008 at 256.
    const double lr = c.config.at("optimizer").at("lr"), width = c.config.at("model").at("width");
    losses[c.name] = std::pow(std::log(lr / (0.032 * std::sqrt(16.0 / width))), 2);
  }
  CHECK(plan.tuning(claim, "better", outcomes_of(losses)).best == Approx(0.008).epsilon(1e-3));
}

TEST_CASE("runs are named by their text, not by where it lies") {
  const Ledger ledger = read_ledger(
      with_file(fake_ledger(), "setup.json", "\"effect\": 0,", "\"effect\": 0, \"model\": {\"vocab_size\": 256},"));
  const Plan here(ledger, "standard", {"good"}, Text{"english", "/here", 300});
  const Plan there(ledger, "standard", {"good"}, Text{"english", "/there", 300});
  const Plan other(ledger, "standard", {"good"}, Text{"code", "/there", 300});
  const Claim& claim = *here.claims()[0];
  const PlannedVariant& variant = here.variant(claim, "plain");
  CHECK(variant.folder.starts_with("english/plain-"));
  CHECK(variant.folder == there.variant(claim, "plain").folder);
  CHECK(variant.hash != other.variant(claim, "plain").hash);
  CHECK(variant.config.at("model").at("vocab_size") == 300);
  CHECK(variant.config.at("data") == nlohmann::json{{"dir", "/here"}});
  const auto a = here.wanted(outcomes_of({}), twelve), b = there.wanted(outcomes_of({}), twelve);
  REQUIRE(a.size() == b.size());
  CHECK(a[0].hash == b[0].hash);
}

TEST_CASE("a variant that goes on from a trunk waits for the trunk's run of its lr and seed") {
  const char* variants = R"("variants": {"better": {"set": {"effect": -0.05}},
    "trunk": {"lr_from": "plain", "set": {"steps": 300, "checkpoint.every": 50}},
    "cool": {"lr_from": "plain", "trunk": "trunk", "set": {"steps": 200, "schedule.decay_steps": 50}}})";
  auto files =
      with_file(fake_ledger(), "good.json", "\"variants\": {\"better\": {\"set\": {\"effect\": -0.05}}}", variants);
  files = with_file(files, "good.json", "{\"name\": \"matched\", \"worse\": \"plain\"",
                    "{\"name\": \"matched\", \"worse\": \"cool\"");
  files = with_file(files, "setup.json", "\"effect\": 0,", "\"effect\": 0, \"model\": {\"width\": 8},");
  const Ledger ledger = read_ledger(files);
  const Plan plan(ledger, "standard", {"good"}, Text{});
  const Claim& claim = *plan.claims()[0];
  std::map<std::string, double> losses;
  const auto run_all = [&] {
    std::vector<Cell> cells = plan.wanted(outcomes_of(losses), twelve);
    for (const Cell& c : cells)
      losses[c.name] = std::pow(std::log(c.config.at("optimizer").at("lr").get<double>() / 8e-3), 2);
    return cells;
  };
  run_all();  // tuning
  const std::string trunk = plan.variant(claim, "trunk").folder, cool = plan.variant(claim, "cool").folder;
  size_t trunks = 0;
  for (const Cell& c : run_all()) {
    CHECK(c.variant != cool);
    trunks += c.variant == trunk;
  }
  CHECK(trunks == 12);
  losses[run_name(trunk, 8e-3, 3)] = INFINITY;  // nothing goes on from one that diverged
  const std::vector<Cell> last = run_all();
  CHECK(last.size() == 11);
  for (const Cell& c : last) {
    CHECK(c.variant == cool);
    CHECK(c.seed != 3);
    CHECK(c.trunk_step == 150);
    CHECK(c.config.at("model").at("from") == run_name(trunk, 8e-3, c.seed) + "@150");
    CHECK(c.config.at("model").at("go_on") == true);
  }
  const auto wrong = with_file(files, "good.json", "\"schedule.decay_steps\": 50", "\"schedule.decay_steps\": 60");
  const Ledger other = read_ledger(wrong);
  CHECK(contains(message_of<ConfigError>([&] { Plan(other, "standard", {}, Text{}); }), "keeps a checkpoint"));
}
