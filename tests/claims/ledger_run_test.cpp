#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "experiments/claims/levels.hpp"
#include "experiments/commands/claims_command.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
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
  CHECK(Setup::claim(r, "good").at("contrasts")[0].at("judgement").at("confidence").get<double>() >= 0.95);
  CHECK(Setup::claim(r, "good").at("tuning").at("better").at("best") == 8e-3);
  CHECK(Setup::claim(r, "good").at("figures")[0].at("problem") == "not available: this program draws no figure P99");
  CHECK(Setup::claim(r, "bad").at("verdict") == "contradicted");
  CHECK(Setup::claim(r, "bad").at("headline") == "levels disagree: theory confirmed, language model contradicted");
  CHECK(contains(s.printed, "levels disagree"));
  // 3 arms × (10 tuning runs + 12 comparisons), own and matched lr being one.
  CHECK(r.at("runs").at("made") == 66);
  const std::string page = s.scratch.read("out/claims.html");
  CHECK(contains(page, "The arm better is better."));
  CHECK(!contains(page, "<img"));
  CHECK(!contains(page, "href=\"http"));
  // Nothing is run twice.
  REQUIRE(s.claims("out", fake_ledger()) == 0);
  CHECK(!contains(s.printed, "stage 1"));
  CHECK(s.result("out") == r);
  // The page needs nothing but the file: without pictures it says the same.
  REQUIRE(s.claims("out", fake_ledger(), {"--page", (s.scratch / "out/claims.json").string()}) == 0);
  CHECK(contains(s.printed, "<figure id=\"figure-good-standard-lr\"></figure>"));
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
  // Two stages: tuning, then comparison; each shard waits for the other's part of the first.
  for (int round = 0; round < 2; ++round)
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

TEST_CASE("an arm that might have been the best and could not be tuned leaves its claim inconclusive") {
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
  const size_t made = s.result("out").at("runs").at("made");
  fs::remove(s.scratch / "out/ledger.json");
  const auto files = with_file(fake_ledger(), "setup.json", "\"seeds\": 12", "\"seeds\": 12, \"first_seed\": 101");
  REQUIRE(s.claims("out", files) == 0);
  const json r = s.result("out");
  CHECK(r.at("runs").at("made") == made);
  size_t fresh = 0;
  for (const auto& entry : fs::recursive_directory_iterator(s.scratch / "out/runs"))
    fresh += entry.path().filename().string().ends_with("seed=112");
  CHECK(fresh > 0);
  // 995 to 1006 would meet the tuning seeds.
  CHECK_THROWS_AS(
      read_ledger(with_file(fake_ledger(), "setup.json", "\"seeds\": 12", "\"seeds\": 12, \"first_seed\": 995")),
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
