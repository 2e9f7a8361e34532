#include "experiments/claims/claim.hpp"

#include <set>

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

}  // namespace

TEST_CASE("the built-in ledger states every claim, at every tier") {
  const Ledger ledger = read_ledger(built_in_ledger());
  std::vector<std::string> ids;
  for (const Claim& c : ledger.claims) {
    ids.push_back(c.id);
    CHECK(c.hash.size() == 64);
    CHECK(c.statement.size() > 40);
    for (const char* tier : {"quick", "standard", "full"}) {
      const TierChoice choice = ledger.choice(c, tier);
      CHECK(choice.seeds >= 2);
      // Five learning rates at least, but where the lr is part of the claim's prediction.
      CHECK((choice.lrs.size() >= 5 || c.id == "rotation" || c.id == "rotation-run" || c.id == "noise-ratio"));
      for (const Arm& arm : c.arms) CHECK(ledger.arm_config(c, arm, tier).at("steps").get<int>() > 0);
    }
  }
  CHECK(ids == std::vector<std::string>{"removal", "amplification", "decay-input", "decay-output", "branches",
                                        "placement", "magnitude", "unified", "overhead", "scaling", "learning-rate",
                                        "clip", "rotation", "width", "noise-ratio", "rotation-run"});
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
  const Ledger added = read_ledger(with_file(fake_ledger(), "setup.json", "\"good\", \"bad\"", "\"bad\""));
  CHECK(added.claims.front().id == "bad");
  CHECK(added.claims.back().id == "good");
  const Ledger ledger = read_ledger(fake_ledger());
  CHECK(contains(message_of<UsageError>([&] { Plan(ledger, "standard", {"goud"}, ""); }), "did you mean \"good\"?"));
}

TEST_CASE("a claim's hash follows from its file and the set-up") {
  const Ledger before = read_ledger(fake_ledger());
  const Ledger other = read_ledger(with_file(fake_ledger(), "good.json", "is better.", "is better!"));
  CHECK(before.claims[0].hash != other.claims[0].hash);
  CHECK(before.claims[1].hash == other.claims[1].hash);
  const Ledger setup = read_ledger(with_file(fake_ledger(), "setup.json", "\"seeds\": 12", "\"seeds\": 13"));
  CHECK(before.claims[1].hash != setup.claims[1].hash);
}

TEST_CASE("claims share their baseline's runs, and tuning comes before comparison") {
  const Ledger ledger = read_ledger(fake_ledger());
  const Plan plan(ledger, "standard", {}, "");
  std::map<std::string, double> losses;
  const auto first = plan.wanted(outcomes_of(losses));
  CHECK(first.size() == 3u * 5 * 2);  // arms × lrs × tuning seeds; the baseline once
  for (const Cell& c : first) {
    CHECK(c.tuning);
    const double lr = c.config.at("optimizer").at("lr");
    losses[c.name] = std::abs(lr - 8e-3);
  }
  const auto second = plan.wanted(outcomes_of(losses));
  // Own and matched lr are the same, 0.008: one run for both.
  CHECK(second.size() == 3u * 12);
  for (size_t i = 0; i + 1 < second.size(); ++i) CHECK(second[i].seed <= second[i + 1].seed);
  for (const Cell& c : second) {
    CHECK(!c.tuning);
    CHECK(c.config.at("optimizer").at("lr") == 8e-3);
    losses[c.name] = 1.0;
  }
  CHECK(plan.wanted(outcomes_of(losses)).empty());
  // A part of the ledger names its runs as the whole does.
  for (const Cell& c : Plan(ledger, "standard", {"bad"}, "").wanted(outcomes_of({}))) CHECK(losses.count(c.name));
}

TEST_CASE("an arm may be tuned on fewer seeds than its baseline") {
  const Ledger ledger = read_ledger(with_file(fake_ledger(), "good.json", "{\"set\": {\"effect\": -0.05}}",
                                              "{\"most_tuning_seeds\": 1, \"set\": {\"effect\": -0.05}}"));
  const Plan plan(ledger, "standard", {"good"}, "");
  std::map<std::string, int> cells;
  for (const Cell& c : plan.wanted(outcomes_of({}))) ++cells[c.variant];
  REQUIRE(cells.size() == 2);
  for (const auto& [arm, count] : cells) CHECK(count == (arm.starts_with("better") ? 5 : 10));
}

TEST_CASE("the grid grows where the best lr lies at its end, and a diverged lr is not chosen") {
  const Ledger ledger = read_ledger(fake_ledger());
  const Plan plan(ledger, "standard", {"good"}, "");
  const Claim& claim = *plan.claims()[0];
  std::map<std::string, double> losses;
  const auto make = [&](auto loss) {
    for (const Cell& c : plan.wanted(outcomes_of(losses)))
      if (c.tuning) losses[c.name] = loss(c.config.at("optimizer").at("lr").template get<double>());
  };
  make([](double lr) { return 1.0 - lr; });  // the more the better
  Tuning t = plan.tuning(claim, "plain", outcomes_of(losses));
  CHECK(!t.best);
  REQUIRE(t.wanted.size() == 2);
  CHECK(t.wanted[0].first == Approx(6.4e-2));
  make([](double) { return INFINITY; });  // beyond the grid all diverge
  t = plan.tuning(claim, "plain", outcomes_of(losses));
  CHECK(t.best == 3.2e-2);
  CHECK(t.state == Tuning::State::tunable);
  CHECK(t.curve.back().diverged == 2);

  losses.clear();
  for (int i = 0; i < 5; ++i) make([](double lr) { return lr; });  // the less the better
  t = plan.tuning(claim, "plain", outcomes_of(losses));
  CHECK(t.best == Approx(5e-4));
  CHECK(t.state == Tuning::State::at_edge);
  CHECK(contains(t.problem, "is the lowest tried"));
}
