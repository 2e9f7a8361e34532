#include "experiments/claims/times.hpp"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <sstream>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "tests/claims/fake_ledger.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Says what it was called for. Two warm-up steps of a second, then four of 0.01 s times 1 + effect + noise by the seed;
// the last of them was disturbed, which a median does not see.
constexpr const char* kFakeTurn = R"sh(#!/bin/sh
[ "$1" = train ] && [ "$3" = --out ] || exit 2
value() { sed -n "s/.*\"$1\": \([-0-9.e]*\).*/\1/p" "$2" | head -1; }
effect=$(value effect "$2"); seed=$(value seed "$2"); fails=$(value fails "$2")
home=$(dirname "$(dirname "$4")")
echo "$effect $seed" >> "$home/calls"
[ "$(wc -l < "$home/calls")" = "$fails" ] && { echo "out of luck" >&2; exit 1; }
mkdir -p "$4"
awk -v effect="$effect" -v seed="$seed" 'BEGIN {
  for (step = 1; step <= 6; ++step) {
    s = 0.01 * (1 + effect) * (1 + 0.002 * sin(seed + 40 * effect))
    if (step <= 2) s = 1; if (step == 6) s = 7
    printf "{\"kind\": \"train\", \"step\": %d, \"tokens\": %d, \"tokens_per_second\": %.9f}\n", step, 64 * step, 64 / s } }' > "$4/metrics.jsonl"
bytes=$(awk -v effect="$effect" 'BEGIN { printf "%d", 1000000 * (1 + effect / 10) }')
echo "{\"status\": \"done\", \"peak_memory_bytes\": $bytes, \"parameters\": 1200000}" > "$4/summary.json"
)sh";

LedgerFiles turns_ledger(double effect, int pairs, const std::string& base = "") {
  return {{"setup.json", R"({"order": ["cost", "other"], "base": {"effect": 0, "seed": 0, "steps": 6)" + base +
                             R"(, "optimizer": {"lr": 1}}, "variants": {"plain": {}},
             "tiers": {"standard": {"purpose": "a test", "needs_text": false, "lrs": [1, 2, 4, 8], "tuning_seeds": [1001], "looks": [3]},
                       "times": {"purpose": "turns", "needs_text": false, "lrs": [1], "tuning_seeds": [1001], "looks": [)" +
                             std::to_string(pairs) + "]}}}"},
          {"cost.json", R"({"id": "cost", "title": "cheap", "statement": "It is cheap.", "rule": "Both.", "times": true,
             "smallest_effect": 0, "theory": {"reading": "silent", "says": ""}, "variants": {"dear": {"set": {"effect": )" +
                            std::to_string(effect) + R"(}}},
             "contrasts": [{"name": "time", "kind": "ratio", "variant": "dear", "baseline": "plain", "metric": "seconds_per_step",
                            "limit": 1.04, "decides": true},
                           {"name": "memory", "kind": "ratio", "variant": "dear", "baseline": "plain", "metric": "peak_memory",
                            "limit": 1.01, "decides": true}]})"},
          {"other.json",
           R"({"id": "other", "title": "other", "statement": "Another.", "rule": "One.", "smallest_effect": 0.01,
             "theory": {"reading": "silent", "says": ""}, "variants": {"dear": {"set": {"effect": 1}}},
             "contrasts": [{"name": "own", "worse": "plain", "better": "dear", "decides": true}]})"}};
}

struct Turns {
  Scratch scratch;
  TimesOptions options;

  Turns() {
    options.program = scratch.write("program.sh", kFakeTurn);
    fs::permissions(options.program, fs::perms::owner_all);
    options.out = scratch / "out";
    fs::create_directories(options.out);
    options.look_seconds = 0.0;
    options.cpu_times = [] { return CpuTimes{}; };
  }

  std::vector<std::string> calls() {
    std::istringstream text(scratch.read("out/calls"));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
};

// The machine's counters run on by a second with each reading, `share` of it busy.
std::function<CpuTimes()> machine_with(double share) {
  return [share, now = 0.0]() mutable {
    now += 1.0;
    return CpuTimes{share * now, now, {{"compiler", share * now}}};
  };
}

}  // namespace

TEST_CASE("turns alternate, their first third does not count, and each pair is kept") {
  Turns t;
  const Ledger ledger = read_ledger(turns_ledger(0.02, 4));
  const Plan plan(ledger, kTimesTier, {}, Text{});
  REQUIRE(plan.claims().size() == 1);
  const json turns = make_turns(plan, t.options);
  const std::vector<std::string> calls = t.calls();
  const std::vector<std::string> expected{"0.02 1", "0 1", "0 2", "0.02 2", "0.02 3", "0 3", "0 4", "0.02 4"};
  CHECK(calls == expected);
  REQUIRE(turns.at("turns").size() == 8);
  for (const json& turn : turns.at("turns")) {
    const double effect = turn.at("variant") == "plain" ? 0.0 : 0.02, seed = turn.at("pair").get<double>() + 1.0;
    const double s = 0.01 * (1.0 + effect) * (1.0 + 0.002 * std::sin(seed + 40.0 * effect));
    CHECK(turn.at("seconds_per_step").get<double>() == Approx(s).epsilon(1e-5));
    CHECK(turn.at("steps").size() == 4);
    CHECK(turn.at("parameters") == 1200000);
  }
  CHECK_FALSE(fs::exists(t.options.out / "turn"));
  // Nothing is made twice; a longer plan takes up where this one ended.
  make_turns(plan, t.options);
  CHECK(t.calls().size() == 8);
  const Ledger longer = read_ledger(turns_ledger(0.02, 6));
  CHECK(make_turns(Plan(longer, kTimesTier, {}, Text{}), t.options).at("turns").size() == 12);
  CHECK(t.calls().size() == 12);
}

TEST_CASE("a turn that fails ends the command with its reason, and the pairs before it stay") {
  Turns t;
  const Ledger ledger = read_ledger(turns_ledger(0.02, 3, R"(, "fails": 4)"));
  const Plan plan(ledger, kTimesTier, {}, Text{});
  CHECK_THROWS_WITH(make_turns(plan, t.options), Catch::Contains("out of luck"));
  CHECK(read_record(t.options.out / "turns.json")->at("turns").size() == 2);
  CHECK(make_turns(plan, t.options).at("turns").size() == 6);
  json other = *read_record(t.options.out / "turns.json");
  other["machine"] = "another";
  write_record(t.options.out / "turns.json", other.dump());
  CHECK_THROWS_WITH(make_turns(plan, t.options), Catch::Contains("another machine"));
}

TEST_CASE("verdicts from turns") {
  for (const auto& [effect, verdict] : {std::pair{0.02, "confirmed"}, {0.08, "contradicted"}, {0.04, "inconclusive"}}) {
    Turns t;
    const Ledger ledger = read_ledger(turns_ledger(effect, 8));
    const Plan plan(ledger, kTimesTier, {}, Text{});
    const json claims = judge_turns(plan, make_turns(plan, t.options));
    REQUIRE(claims.size() == 1);
    const json& evidence = claims[0].at("evidence").at(0);
    const json& time = evidence.at("contrasts").at(0);
    INFO(effect << " " << time.dump());
    CHECK(time.at("judgement").at("verdict") == verdict);
    CHECK(evidence.at("verdict") == verdict);
    CHECK(claims[0].at("verdict") == verdict);
    CHECK(evidence.at("level") == "1M");
    CHECK(evidence.at("turns").size() == 16);
    CHECK(time.at("judgement").at("confidence").get<double>() == Approx(0.975));
    // Student's t for seven degrees of freedom at 0.0125 a side is 2.8412 (tables, and scipy.stats.t.ppf).
    std::vector<double> logs;
    double mean = 0.0, square = 0.0;
    for (int seed = 1; seed <= 8; ++seed)
      logs.push_back(
          std::log((1.0 + effect) * (1.0 + 0.002 * std::sin(seed + 40.0 * effect)) / (1.0 + 0.002 * std::sin(seed))));
    for (const double x : logs) mean += x / 8.0;
    for (const double x : logs) square += (x - mean) * (x - mean) / 7.0;
    const double half = 2.84124 * std::sqrt(square / 8.0);
    CHECK(time.at("ratio").at("estimate").get<double>() == Approx(std::exp(mean)).epsilon(1e-5));
    CHECK(time.at("ratio").at("low").get<double>() == Approx(std::exp(mean - half)).epsilon(1e-5));
    CHECK(time.at("ratio").at("high").get<double>() == Approx(std::exp(mean + half)).epsilon(1e-5));
    CHECK(time.at("judgement").at("low").get<double>() == Approx(1.04 - std::exp(mean + half)).margin(1e-5));
  }
}

TEST_CASE("the interval of a ratio of turns covers it as often as it says") {
  // 4,000 experiments: the count of those covered is binomial; 4.4 standard deviations are left once in 10^5.
  std::mt19937_64 random(7);
  for (const int pairs : {4, 20}) {
    int covered = 0;
    for (int i = 0; i < 4000; ++i) {
      // Of a pair: how fast the machine is just now, common to both turns, and each turn's own noise.
      std::normal_distribution<double> machine(0.0, 0.1), noise(0.0, 0.01);
      std::vector<double> variant, baseline;
      for (int k = 0; k < pairs; ++k) {
        const double now = machine(random);
        variant.push_back(0.3 * 1.03 * std::exp(now + noise(random)));
        baseline.push_back(0.3 * std::exp(now + noise(random)));
      }
      const TurnRatio r = turn_ratio(variant, baseline, 0.95);
      covered += r.low < 1.03 && 1.03 < r.high;
    }
    CHECK(std::abs(covered - 3800.0) < 4.4 * std::sqrt(4000.0 * 0.95 * 0.05));
  }
}

TEST_CASE("a loaded machine is refused, or decides nothing") {
  Turns t;
  const Ledger ledger = read_ledger(turns_ledger(0.02, 3));
  const Plan plan(ledger, kTimesTier, {}, Text{});
  t.options.cpu_times = machine_with(0.5);
  CHECK_THROWS_AS(make_turns(plan, t.options), UsageError);
  CHECK_THROWS_WITH(make_turns(plan, t.options), Catch::Contains("50 % of its cores' time") &&
                                                     Catch::Contains("compiler") && Catch::Contains("--loaded") &&
                                                     !Catch::Contains("\n"));
  CHECK_FALSE(fs::exists(t.options.out / "calls"));
  t.options.loaded = true;
  const json claims = judge_turns(plan, make_turns(plan, t.options));
  CHECK(claims[0].at("verdict") == "inconclusive");
  CHECK(claims[0].at("reason") == "turns were made on a loaded machine");
  CHECK(claims[0]["evidence"][0]["contrasts"][0]["ratio"]["estimate"].is_number());
}

TEST_CASE("turns beside which others began to work decide nothing") {
  Turns t;
  const Ledger ledger = read_ledger(turns_ledger(0.02, 3));
  const Plan plan(ledger, kTimesTier, {}, Text{});
  // Quiet for the two readings of the first look.
  t.options.cpu_times = [quiet = 2, busy = machine_with(0.4)]() mutable { return quiet-- > 0 ? CpuTimes{} : busy(); };
  const json claims = judge_turns(plan, make_turns(plan, t.options));
  CHECK(claims[0].at("verdict") == "inconclusive");
  CHECK_THAT(claims[0].at("reason").get<std::string>(), Catch::Contains("others used"));
}

TEST_CASE("missing turns decide nothing, and times have a tier of their own") {
  Turns t;
  const Ledger ledger = read_ledger(turns_ledger(0.02, 3));
  const Plan plan(ledger, kTimesTier, {}, Text{});
  CHECK(judge_turns(plan, {{"turns", json::array()}})[0].at("reason") == "0 of 3 pairs of turns are there");
  REQUIRE(Plan(ledger, "standard", {}, Text{}).claims().size() == 1);
  CHECK(Plan(ledger, "standard", {}, Text{}).claims()[0]->id == "other");
  CHECK_THROWS_WITH(Plan(ledger, "standard", {"cost"}, Text{}), Catch::Contains("--times"));
  CHECK_THROWS_WITH(Plan(ledger, kTimesTier, {"other"}, Text{}), Catch::Contains("other"));
}

TEST_CASE("how busy a machine is, from files like those of /proc") {
  const Scratch scratch;
  const double tick = static_cast<double>(sysconf(_SC_CLK_TCK));
  // user nice system idle iowait irq softirq steal, then what user and nice hold already
  scratch.write("a/stat", "cpu  100 10 40 1000 50 1 2 3 7 7\ncpu0 1 2 3\n");
  scratch.write("a/17/stat", "17 (cc1 (plus) x) R 1 17 17 0 -1 4194304 1 2 3 4 30 5 0 0 20 0\n");
  scratch.write("a/self/stat", "18 (no process) R 1 17 17 0 -1 4194304 1 2 3 4 900 900 0 0 20 0\n");
  scratch.write("b/stat", "cpu  200 10 50 1100 50 1 2 3 7 7\n");
  scratch.write("b/17/stat", "17 (cc1 (plus) x) R 1 17 17 0 -1 4194304 1 2 3 4 80 5 0 0 20 0\n");
  const CpuTimes a = read_cpu_times(scratch / "a"), b = read_cpu_times(scratch / "b");
  CHECK(a.busy == Approx(156.0 / tick));
  CHECK(a.all == Approx(1206.0 / tick));
  REQUIRE(a.programs.size() == 1);
  CHECK(a.programs.begin()->first == "cc1 (plus) x");
  CHECK(a.programs.begin()->second == Approx(35.0 / tick));
  CHECK(busy_share(a, b) == Approx(110.0 / 210.0));
  CHECK(busy_share(a, b, 50.0 / tick) == Approx(60.0 / 210.0));
  const auto most = busiest(a, b);
  REQUIRE(most.size() == 1);
  CHECK(most[0].first == "cc1 (plus) x");
  const double cores = static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
  CHECK(most[0].second == Approx(50.0 * cores / 210.0));
  CHECK_THROWS_AS(read_cpu_times(scratch / "none"), RunError);
  // The real one.
  CHECK(read_cpu_times().all > 0.0);
}
