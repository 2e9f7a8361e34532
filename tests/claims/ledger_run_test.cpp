#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "experiments/claims/levels.hpp"
#include "experiments/claims/run_store.hpp"
#include "experiments/commands/claims_command.hpp"
#include "experiments/data/token_file.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "tests/claims/fake_ledger.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

struct Setup {
  Scratch scratch;
  fs::path program;
  std::string printed;

  Setup() {
    program = scratch.write("program.sh", kFakeProgram);
    fs::permissions(program, fs::perms::owner_all);
  }

  // The status; what it prints goes to `printed`.
  int claims(const std::string& out, const LedgerFiles& files, std::vector<std::string> more = {"--tier", "standard"}) {
    CLI::App app;
    add_claims_command(app, [](const ToyClaim&) -> json { throw std::logic_error("no toy here"); });
    std::vector<std::string> words{"claims",
                                   "--out",
                                   (scratch / out).string(),
                                   "--ledger",
                                   write_ledger(scratch, "ledger-" + out, files).string(),
                                   "--program",
                                   program.string(),
                                   "--jobs",
                                   "2"};
    words.insert(words.end(), more.begin(), more.end());
    std::reverse(words.begin(), words.end());
    std::ostringstream text;
    std::streambuf* before = std::cout.rdbuf(text.rdbuf());
    int status = 0;
    try {
      app.parse(words);
    } catch (const CLI::RuntimeError& e) {
      status = e.get_exit_code();
    } catch (const RunError& e) {
      text << e.what();
      status = 1;
    } catch (const UsageError& e) {
      text << e.what();
      status = 2;
    }
    std::cout.rdbuf(before);
    printed = text.str();
    return status;
  }

  // What the runs decide, without the folder's own name.
  json result(const std::string& out) {
    json r = json::parse(scratch.read(out + "/claims.json"));
    r.erase("command");
    r.erase("checksum");  // of the command, too
    return r;
  }

  static const json& claim(const json& result, const std::string& id) {
    for (const json& c : result.at("claims"))
      if (c.at("id") == id) return c;
    throw std::logic_error("no claim " + id);
  }
};

}  // namespace

TEST_CASE("a true claim is confirmed, a false one contradicted, and levels that disagree are the headline") {
  Setup s;
  REQUIRE(s.claims("out", fake_ledger()) == 0);
  const json r = s.result("out");
  CHECK(r.at("family") == 2);
  CHECK(Setup::claim(r, "good").at("verdict") == "confirmed");
  CHECK(Setup::claim(r, "good").at("contrasts")[0].at("gain").get<double>() == Approx(0.05).margin(0.004));
  const json& own = Setup::claim(r, "good").at("contrasts")[0];
  CHECK(own.at("judgement").at("confidence").get<double>() >= 0.95);
  // Two judged hypotheses; after 4 pairs of 12 nearly nothing of the error may be spent, after 8 enough.
  CHECK(r.at("level") == 0.025);
  CHECK(own.at("stopped") == "the interval excludes zero");
  CHECK(own.at("pairs") == 8);
  CHECK(own.at("cap") == 12);
  REQUIRE(own.at("looks").size() == 2);
  CHECK(own.at("looks")[0].at("pairs") == 4);
  CHECK(own.at("looks")[0].at("boundary").get<double>() > own.at("looks")[1].at("boundary").get<double>());
  CHECK(own.at("looks")[1].at("low") == own.at("judgement").at("low"));
  CHECK(own.at("better")[0].at("vertex").at("lr").get<double>() == Approx(8e-3).epsilon(1e-6));
  CHECK(Setup::claim(r, "good").at("evidence")[0].at("level") == "0.1M");
  CHECK(Setup::claim(r, "good").at("tuning").at("better").at("best") == 8e-3);
  CHECK(Setup::claim(r, "good").at("figures")[0].at("problem") == "not available: this program draws no figure P99");
  CHECK(Setup::claim(r, "bad").at("verdict") == "contradicted");
  CHECK(Setup::claim(r, "bad").at("headline") == "levels disagree: theory confirmed, language model contradicted");
  CHECK(contains(s.printed, "levels disagree"));
  // 3 variants × 10 tuning runs and the comparisons: the matched contrast, which does not decide, takes all 12 pairs of
  // two.
  CHECK(r.at("runs").at("made") == 30 + 12 + 12 + 8);
  // A run is one second of two cores.
  CHECK(r.at("provenance").at("core_hours").get<double>() == Approx(62.0 * 2.0 / 3600.0));
  const std::string page = s.scratch.read("out/claims.html");
  CHECK(contains(page, "The variant better is better."));
  CHECK(!contains(page, "<img"));
  CHECK(!contains(page, "href=\"http"));
  // Nothing is run twice.
  REQUIRE(s.claims("out", fake_ledger()) == 0);
  CHECK(!contains(s.printed, "stage 1"));
  CHECK(s.result("out") == r);
  // The page needs nothing but the file: without pictures it says the same.
  REQUIRE(s.claims("out", fake_ledger(), {"--page", (s.scratch / "out/claims.json").string()}) == 0);
  CHECK(contains(s.printed, "<figure id=\"figure-good-standard-synthetic-lr\"></figure>"));
  const size_t table = page.find("<table>"), end = page.find("</table>");
  CHECK(contains(s.printed, page.substr(table, end - table)));
  CHECK(s.claims("out", fake_ledger(), {"--page", (s.scratch / "program.sh").string()}) == 2);
}

TEST_CASE("a ledger stopped again and again ends as one that was not") {
  Setup s;
  REQUIRE(s.claims("whole", fake_ledger()) == 0);
  int stops = 0;
  for (int after = 5; after < 200; after += 25) {
    setenv("STOP_AFTER", std::to_string(after).c_str(), 1);
    const int status = s.claims("pieces", fake_ledger());
    if (status == 0) break;
    CHECK(status == 143);
    CHECK(contains(s.printed, "the same command continues"));
    ++stops;
  }
  unsetenv("STOP_AFTER");
  REQUIRE(s.claims("pieces", fake_ledger()) == 0);
  CHECK(stops >= 2);
  CHECK(s.result("pieces") == s.result("whole"));
}

TEST_CASE("shards make the whole ledger's runs between them") {
  Setup s;
  REQUIRE(s.claims("whole", fake_ledger()) == 0);
  // Stages: tuning, then the looks; each shard waits for the others' part of the one before.
  for (int round = 0; round < 4; ++round)
    for (const char* shard : {"1/3", "2/3", "3/3"})
      REQUIRE(s.claims("parts", fake_ledger(), {"--tier", "standard", "--shard", shard}) == 0);
  REQUIRE(s.claims("parts", fake_ledger()) == 0);
  CHECK(!contains(s.printed, "stage"));
  CHECK(s.result("parts") == s.result("whole"));
  CHECK(s.claims("parts", fake_ledger(), {"--tier", "standard", "--shard", "4/3"}) == 2);
}

TEST_CASE("a claim with a diverged run is inconclusive with the reason, and the ledger is complete") {
  Setup s;
  const auto files = with_file(fake_ledger(), "good.json", "\"effect\": -0.05", "\"effect\": -0.05, \"diverges\": 7");
  REQUIRE(s.claims("out", files) == 0);
  const json r = s.result("out");
  CHECK(Setup::claim(r, "good").at("verdict") == "inconclusive");
  CHECK(contains(Setup::claim(r, "good").at("reason"), "seed=7: diverged: loss at step 2"));
  CHECK(Setup::claim(r, "good").at("contrasts")[0].at("gains")[6].is_null());
  CHECK(Setup::claim(r, "bad").at("verdict") == "contradicted");
  CHECK(r.at("family") == 2);
  CHECK(r.at("runs").at("diverged") == 1);
}

TEST_CASE("a claim with a run that fails is inconclusive with the reason, and the status says so") {
  Setup s;
  for (const char* seed : {"7", "1002"}) {  // a comparison's, and a tuning's
    const std::string out = std::string("out") + seed;
    const auto files = with_file(fake_ledger(), "good.json", "\"effect\": -0.05",
                                 std::string("\"effect\": -0.05, \"fails\": ") + seed);
    REQUIRE(s.claims(out, files) == 1);
    CHECK(contains(s.printed, "the same command tries them again"));
    const json r = s.result(out);
    CHECK(Setup::claim(r, "good").at("verdict") == "inconclusive");
    CHECK(contains(Setup::claim(r, "good").at("reason"), "out of luck"));
    CHECK(Setup::claim(r, "bad").at("verdict") == "contradicted");
  }
}

TEST_CASE("a variant that might have been the best and could not be tuned leaves its claim inconclusive") {
  Setup s;
  auto files = with_file(
      fake_ledger(), "good.json", "\"better\": {\"set\": {\"effect\": -0.05}}",
      "\"better\": {\"set\": {\"effect\": -0.05}}, \"best\": {\"set\": {\"effect\": -0.07, \"fails\": 1002}}");
  files = with_file(files, "good.json", "\"better\": \"better\", \"decides\"",
                    "\"better\": [\"better\", \"best\"], \"decides\"");
  REQUIRE(s.claims("out", files) == 1);
  const json r = s.result("out");
  CHECK(Setup::claim(r, "good").at("verdict") == "inconclusive");
  CHECK(contains(Setup::claim(r, "good").at("reason"), "out of luck"));
}

TEST_CASE("a contrast whose run diverged leaves its claim inconclusive, also beside one that is contradicted") {
  Setup s;
  auto files =
      with_file(fake_ledger(), "bad.json", "\"worse\": {\"set\": {\"effect\": 0.05}}",
                "\"worse\": {\"set\": {\"effect\": 0.05}}, \"wild\": {\"set\": {\"effect\": 0.04, \"diverges\": 7}}");
  files = with_file(files, "bad.json", "\"better\": \"worse\", \"decides\": true}",
                    "\"better\": \"worse\", \"decides\": true}, {\"name\": \"wild\", \"worse\": \"plain\", \"better\": "
                    "\"wild\", \"decides\": true}");
  REQUIRE(s.claims("out", files) == 0);
  const json claim = Setup::claim(s.result("out"), "bad");
  CHECK(claim.at("contrasts")[0].at("judgement").at("verdict") == "contradicted");
  CHECK(claim.at("verdict") == "inconclusive");
  CHECK(contains(claim.at("reason"), "seed=7: diverged"));
}

TEST_CASE("comparison seeds begin where the tier says, and runs of other ledgers in the folder do not count") {
  Setup s;
  REQUIRE(s.claims("out", fake_ledger()) == 0);
  fs::remove(s.scratch / "out/ledger.json");
  const auto files = with_file(fake_ledger(), "setup.json", "[4, 8, 12]", "[4, 8, 12], \"first_seed\": 101");
  REQUIRE(s.claims("out", files) == 0);
  const json r = s.result("out");
  const auto bad_pairs = Setup::claim(r, "bad").at("contrasts")[0].at("pairs").get<size_t>();
  CHECK(r.at("runs").at("made") == 30 + 12 + 12 + bad_pairs);
  size_t fresh = 0;
  for (const auto& entry : fs::recursive_directory_iterator(s.scratch / "out/runs"))
    fresh += entry.path().filename().string().ends_with("seed=112");
  CHECK(fresh > 0);
  // 995 to 1006 would meet the tuning seeds.
  CHECK_THROWS_AS(read_ledger(with_file(fake_ledger(), "setup.json", "[4, 8, 12]", "[4, 8, 12], \"first_seed\": 995")),
                  ConfigError);
}

TEST_CASE("a quick ledger decides nothing, however clear it looks") {
  Setup s;
  REQUIRE(s.claims("out", fake_ledger(), {"--tier", "quick"}) == 0);
  const json r = s.result("out");
  for (const json& c : r.at("claims")) CHECK(c.at("verdict") == "inconclusive");
  CHECK(contains(Setup::claim(r, "good").at("reason"), "decides nothing"));
  CHECK(!Setup::claim(r, "good").at("contrasts")[0].at("judgement").at("low").is_null());
}

TEST_CASE("a claim that was changed after its runs began, or another tier, is refused") {
  Setup s;
  REQUIRE(s.claims("out", fake_ledger(), {"--tier", "quick"}) == 0);
  CHECK(s.claims("out", fake_ledger()) == 2);
  CHECK(contains(s.printed, "was begun with --tier \"quick\""));
  CHECK(s.claims("out", with_file(fake_ledger(), "good.json", "0.01", "0.02"), {"--tier", "quick"}) == 2);
  CHECK(contains(s.printed, "the claim good was changed after its runs began"));
  CHECK(s.claims("other", fake_ledger(), {"--tier", "fast"}) == 2);
  CHECK(contains(s.printed, "allowed: quick, standard"));
}

TEST_CASE("results are kept as small files, from which another machine goes on") {
  Setup s;
  const std::string results = (s.scratch / "results").string();
  REQUIRE(s.claims("out", fake_ledger(), {"--tier", "standard", "--results", results}) == 0);
  const json r = s.result("out");
  const json kept = json::parse(s.scratch.read("results/standard/synthetic.json"));
  CHECK(kept.at("runs").size() == r.at("runs").at("made").get<size_t>());
  for (const auto& [run, one] : kept.at("runs").items()) {
    CHECK(one.at("metrics").at("val_loss").is_number());
    CHECK(run.find("/lr=") != std::string::npos);
  }
  // The traces of the runs are not among them, and so no mechanism.
  const auto judged = [&](const std::string& out) {
    json all = s.result(out);
    for (json& claim : all["claims"]) claim.erase("mechanism");
    return all;
  };
  const json before = judged("out");
  fs::remove_all(s.scratch / "out");
  REQUIRE(s.claims("elsewhere", fake_ledger(), {"--tier", "standard", "--results", results}) == 0);
  CHECK(!contains(s.printed, "stage 1"));
  CHECK(judged("elsewhere") == before);
  // A part of them: the rest is made.
  json part = kept;
  part.erase("checksum");
  for (size_t i = 0; i < 20; ++i) part["runs"].erase(part["runs"].begin());
  s.scratch.write("results/standard/synthetic.json", part.dump());
  REQUIRE(s.claims("third", fake_ledger(), {"--tier", "standard", "--results", results}) == 0);
  CHECK(contains(s.printed, "stage 1"));
  CHECK(judged("third") == before);
  // A damaged file is no result.
  std::string text = s.scratch.read("results/standard/synthetic.json");
  text.replace(text.find("\"done\""), 6, "\"dome\"");
  s.scratch.write("results/standard/synthetic.json", text);
  CHECK(s.claims("fourth", fake_ledger(), {"--tier", "standard", "--results", results}) == 1);
}

TEST_CASE("two ledgers that keep their results in one folder keep each other's") {
  Setup s;
  const auto finished = [&](const std::string& folder, const std::string& run) {
    const fs::path at = s.scratch / folder / run;
    fs::create_directories(at);
    write_record(at / "summary.json", R"({"status": "done", "val_loss": 1.5, "data_hash": "d"})");
  };
  finished("one", "text/a-1/lr=1,seed=1");
  finished("two", "text/b-2/lr=1,seed=1");
  const RunStore one(s.scratch / "one", s.scratch / "results"), two(s.scratch / "two", s.scratch / "results");
  REQUIRE(one.outcome("text/a-1/lr=1,seed=1"));
  REQUIRE(two.outcome("text/b-2/lr=1,seed=1"));
  one.save();
  two.save();
  const RunStore third(s.scratch / "none", s.scratch / "results");
  CHECK(third.outcome("text/a-1/lr=1,seed=1"));
  CHECK(third.outcome("text/b-2/lr=1,seed=1"));
}

TEST_CASE("a variant whose best lr cannot be bracketed is not compared, and its claim says why") {
  Setup s;
  const auto files = with_file(fake_ledger(), "good.json", "\"effect\": -0.05", "\"effect\": -0.05, \"best\": 100");
  REQUIRE(s.claims("out", files) == 0);
  const json good = Setup::claim(s.result("out"), "good");
  CHECK(good.at("verdict") == "inconclusive");
  CHECK(contains(good.at("reason"), "best learning rate lies above"));
  CHECK(good.at("tuning").at("better").at("best").is_null());
  CHECK(good.at("tuning").at("better").at("curve").size() == 7);
  CHECK(good.at("contrasts")[0].at("looks").empty());
  CHECK(contains(good.at("contrasts")[0].at("stopped"), "lies above"));
}

TEST_CASE("a claim is judged on each text, and says on which it holds") {
  Setup s;
  for (const char* name : {"one", "two"}) {
    fs::create_directories(s.scratch / name);
    const std::vector<std::uint32_t> tokens(500, name[0] == 'o' ? 3 : 4);
    for (const char* split : {"train", "val"}) {
      TokenFileWriter writer(s.scratch / name / (std::string(split) + "_000.bin"));
      writer.append(tokens);
      writer.finish();
    }
  }
  auto files =
      with_file(fake_ledger(), "setup.json", "\"effect\": 0,", "\"effect\": 0, \"model\": {\"vocab_size\": 256},");
  files = with_file(files, "setup.json", "[4, 8, 12]", "[4, 8, 12], \"texts\": [\"one\", \"two\"]");
  files = with_file(
      files, "bad.json", "\"smallest_effect\"",
      "\"judged\": false, \"tiers\": {\"standard\": {\"texts\": [\"two\"], \"text_set\": {\"two\": {\"steps\": 5}}}}, "
      "\"smallest_effect\"");
  const auto text = [&](const char* name) { return std::string(name) + "=" + (s.scratch / name).string(); };
  const std::vector<std::string> both{"--tier", "standard", "--text", text("two"), "--text", text("one")};
  // Before the runs it says what they will be.
  std::vector<std::string> plan = both;
  plan.insert(plan.end(), {"--plan", "--power"});
  REQUIRE(s.claims("out", files, plan) == 0);
  CHECK(contains(s.printed, "left: unknown"));
  CHECK(contains(s.printed, "looks at 4, 8, 12 pairs"));
  CHECK(contains(s.printed, "lr errors cost up to"));
  REQUIRE(s.claims("out", files, both) == 0);
  const json r = s.result("out");
  CHECK(r.at("family") == 2);
  REQUIRE(r.at("texts").size() == 2);
  CHECK(r.at("texts")[0].at("name") == "one");
  CHECK(r.at("texts")[0].at("data_hash") != r.at("texts")[1].at("data_hash"));
  const json& good = Setup::claim(r, "good");
  REQUIRE(good.at("evidence").size() == 2);
  CHECK(good.at("evidence")[1].at("text") == "two");
  CHECK(good.at("evidence")[1].at("verdict") == "confirmed");
  CHECK(good.at("holds_on") == json{"one", "two"});
  CHECK(good.at("verdict") == "confirmed");
  const json& bad = Setup::claim(r, "bad");
  CHECK(bad.at("verdict") == "not judged");
  REQUIRE(bad.at("evidence").size() == 1);
  CHECK(bad.at("evidence")[0].at("contrasts")[0].at("judgement").at("confidence") == 0.95);
  // All is made: nothing is left.
  REQUIRE(s.claims("out", files, plan) == 0);
  CHECK(contains(s.printed, "left: 0.00 to 0.00 core-hours"));
  // A part of the texts is a part of the ledger, judged at the same level.
  REQUIRE(s.claims("part", files, {"--tier", "standard", "--text", text("two")}) == 0);
  CHECK(Setup::claim(s.result("part"), "good").at("evidence")[0].at("contrasts") ==
        good.at("evidence")[1].at("contrasts"));
  // Another text under a name, and names that the ledger does not have.
  CHECK(s.claims("out", files, {"--tier", "standard", "--text", "one=" + (s.scratch / "two").string()}) == 2);
  CHECK(contains(s.printed, "other data for the text one"));
  CHECK(s.claims("out", files, {"--tier", "standard", "--text", "three=" + (s.scratch / "two").string()}) == 2);
  CHECK(contains(s.printed, "runs on: one, two"));
  CHECK(s.claims("out", files, {"--tier", "standard", "--text", "one"}) == 2);
  CHECK(s.claims("out", with_file(files, "setup.json", "\"needs_text\": false, \"lrs\": [2e-3", "\"lrs\": [2e-3"),
                 {"--tier", "standard"}) == 2);
  CHECK(contains(s.printed, "--text NAME=DIR"));
}
