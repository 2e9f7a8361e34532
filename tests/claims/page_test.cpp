#include "experiments/claims/page.hpp"

#include "experiments/claims/joined.hpp"
#include "experiments/record/record_files.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;

namespace {

json contrast(double gain, double half, const std::string& verdict, int pairs, double lr) {
  return {
      {"name", "own best lr"},
      {"decides", true},
      {"at", "own best lr"},
      {"metric", "val_loss"},
      {"smallest_effect", 0.01},
      {"gain", gain},
      {"sd", 0.02},
      {"pairs", pairs},
      {"cap", 40},
      {"gains", {gain, gain}},
      {"notes", json::array()},
      {"stopped", "the interval excludes zero"},
      {"seeds_needed", nullptr},
      {"looks",
       {{{"pairs", 10},
         {"boundary", 3.0},
         {"confidence", 0.99},
         {"gain", gain},
         {"low", gain - half},
         {"high", gain + half}},
        {{"pairs", pairs},
         {"boundary", 2.1},
         {"confidence", 0.96},
         {"gain", gain},
         {"low", gain - half},
         {"high", gain + half}}}},
      {"judgement",
       {{"verdict", verdict}, {"confidence", 0.96}, {"low", gain - half}, {"high", gain + half}, {"reason", ""}}},
      {"better",
       {{{"variant", "plain"},
         {"folder", "x/plain-1"},
         {"lr", lr},
         {"values", {2.0, 2.0}},
         {"vertex", {{"lr", lr}, {"se", 0.25}}}}}},
      {"worse",
       {{{"variant", "none"}, {"folder", "x/none-1"}, {"lr", 2 * lr}, {"values", {2.1, 2.1}}, {"vertex", nullptr}}}}};
}

json entry(const std::string& tier, const std::string& text, const std::string& level, const std::string& verdict,
           double gain, double half, int pairs = 20, double lr = 0.004) {
  return {{"tier", tier},
          {"text", text},
          {"level", level},
          {"parameters", nullptr},
          {"verdict", verdict},
          {"reason", ""},
          {"core_hours", 1.5},
          {"first_seed", 201},
          {"pilot", {{"sd", 0.02}, {"seeds", 30}, {"detectable", 0.008}, {"lr_cost", 0.003}}},
          {"contrasts", {contrast(gain, half, verdict, pairs, lr)}},
          {"tuning",
           {{"plain",
             {{"best", lr},
              {"interior", true},
              {"problem", ""},
              {"curve", json::array()},
              {"vertex",
               {{"lr", lr}, {"se", 0.25}, {"curvature", 0.01}, {"lack_of_fit_p", 0.4}, {"lrs", {0.002, 0.004}}}}}}}}};
}

json claim(const std::string& id, std::vector<json> evidence) {
  return {{"id", id},
          {"title", "it <helps>"},
          {"statement", "It helps & more."},
          {"rule", "One contrast."},
          {"unit", "nats per token"},
          {"sources", {"a paper"}},
          {"quoted", "a paper: +0.015"},
          {"against", json::array()},
          {"theory_says", "Yes."},
          {"figures", json::array()},
          {"toy", nullptr},
          {"levels", {{"theory", "confirmed"}, {"toy", "none"}, {"language_model", ""}}},
          {"hash", "0123456789abcdef0123"},
          {"judged", true},
          {"evidence", evidence}};
}

json ledger(const std::string& tier, std::vector<json> claims, std::vector<json> failed = {}) {
  return {{"kind", "ledger"},
          {"tier", tier},
          {"purpose", "for a test"},
          {"decides", true},
          {"command", "scalevec claims --tier " + tier},
          {"alpha", 0.05},
          {"family", 2},
          {"level", 0.025},
          {"method", {"Fixed before the runs."}},
          {"texts",
           {{{"name", "english"}, {"train_tokens", 38e6}, {"vocab_size", 256}, {"data_hash", "feedfeedfeedfeedfeed"}}}},
          {"runs", {{"made", 10}, {"diverged", 1}, {"failed", failed}}},
          {"provenance", {{"seconds", 3600}, {"core_hours", 2.0}}},
          {"claims", claims}};
}

const json& by_id(const json& joined, const std::string& id) {
  for (const json& c : joined.at("claims"))
    if (c.at("id") == id) return c;
  throw std::logic_error("no claim " + id);
}

}  // namespace

TEST_CASE("files join by claim: each level's verdict, and that of the largest that says something") {
  const json small = ledger("standard", {claim("a", {entry("standard", "code", "1M", "not confirmed", 0.0, 0.005),
                                                     entry("standard", "english", "1M", "confirmed", 0.03, 0.01),
                                                     entry("standard", "english", "0.1M", "confirmed", 0.03, 0.01)}),
                                         claim("b", {entry("standard", "english", "0.1M", "confirmed", 0.03, 0.01)})});
  const json large = ledger("gpu", {claim("a", {entry("gpu", "english", "10M", "inconclusive", 0.01, 0.03)}),
                                    claim("c", {entry("gpu", "english", "10M", "contradicted", -0.03, 0.01)})});
  const json joined = joined_ledgers({small, large});
  REQUIRE(joined.at("parts").size() == 2);
  CHECK_FALSE(joined["parts"][0].contains("claims"));
  std::vector<std::string> ids;
  for (const json& c : joined.at("claims")) ids.push_back(c.at("id"));
  CHECK(ids == std::vector<std::string>{"a", "b", "c"});
  const json& a = by_id(joined, "a");
  REQUIRE(a.at("evidence").size() == 4);
  REQUIRE(a.at("at").size() == 3);
  CHECK(a["at"][0].at("level") == "0.1M");
  CHECK(a["at"][1].at("verdict") == "not confirmed");
  CHECK(a["at"][2].at("verdict") == "inconclusive");
  CHECK(a.at("verdict") == "not confirmed");
  CHECK(a.at("decided_at") == "1M");
  CHECK(a["evidence"][0].at("hash") == "0123456789abcdef0123");
  CHECK(by_id(joined, "c").at("verdict") == "contradicted");
  CHECK(levels_of(joined) == std::vector<std::string>{"0.1M", "1M", "10M"});
  CHECK(joined_ledgers({joined}) == joined);
  // A claim that is only shown draws no verdict.
  json shown = small;
  shown["claims"][0]["judged"] = false;
  CHECK(by_id(joined_ledgers({shown}), "a").at("verdict") == "not judged");
}

TEST_CASE("the page of a joined ledger says it once, escaped, and without files") {
  const json now =
      joined_ledgers({ledger("standard",
                             {claim("a", {entry("standard", "english", "1M", "confirmed", 0.03, 0.01, 30, 0.005),
                                          entry("standard", "code", "1M", "not confirmed", 0.0, 0.005)}),
                              claim("new", {entry("standard", "english", "1M", "inconclusive", 0.0, 0.03)})},
                             {{{"run", "plain/lr=1,seed=2"}, {"reason", "out of <luck>"}}})});
  const json then = joined_ledgers(
      {ledger("standard", {claim("a", {entry("standard", "english", "0.1M", "confirmed", 0.02, 0.01)}),
                           claim("gone", {entry("standard", "english", "0.1M", "confirmed", 0.02, 0.01)})})});
  const std::string page = ledger_page(now, "", then);
  // The table comes first and has the paper's figure.
  const std::string table = page.substr(page.find("<table>"), page.find("</table>") - page.find("<table>"));
  CHECK(page.find("<table>") < page.find("<h2"));
  CHECK(contains(table, "10 M"));
  CHECK(contains(table, "+0.0300 [+0.0200,\u00a0+0.0400]"));
  CHECK(contains(table, "a paper: +0.015"));
  CHECK(contains(table, "code: not confirmed"));
  CHECK(contains(page, "it &lt;helps&gt;"));
  CHECK_FALSE(contains(page, "<helps>"));
  CHECK(contains(page, "out of &lt;luck&gt;"));
  CHECK(contains(page, "1 runs diverged"));
  CHECK(contains(page, "Fixed before the runs."));
  const std::string changes =
      page.substr(page.find("id=\"changes\""), page.find("id=\"failures\"") - page.find("id=\"changes\""));
  CHECK(contains(changes, "decided at 1 M instead of 0.1 M"));
  CHECK(contains(changes, "30 pairs, not 20"));
  CHECK(contains(changes, "lr of plain 0.005, not 0.004"));
  CHECK(contains(changes, "no longer in the ledger"));
  CHECK(contains(changes, "new"));
  CHECK(contains(page, "± 0.25 octaves"));
  CHECK(occurrences(page, "id=\"a\"") == 1);
  CHECK_FALSE(contains(ledger_page(now, ""), "id=\"changes\""));
  // Nothing folded away is needed to read the verdicts.
  CHECK(page.find("<details") > page.find("id=\"failures\""));
}

TEST_CASE("the forests have each deciding contrast once, by unit") {
  json other = claim("cost", {entry("times", "", "1M", "confirmed", 0.03, 0.01)});
  other["unit"] = "of the baseline's";
  const json joined =
      joined_ledgers({ledger("standard", {claim("a", {entry("standard", "english", "1M", "confirmed", 0.03, 0.01),
                                                      entry("standard", "code", "1M", "confirmed", 0.03, 0.01)})}),
                      ledger("times", {other})});
  const std::vector<Forest> forests = ledger_forests(joined);
  REQUIRE(forests.size() == 2);
  CHECK(forests[0].rows.size() == 2);
  CHECK(forests[0].rows[1].note == "1 M, code, 20 pairs");
  CHECK(forests[0].shared_axis);
  REQUIRE(forests[1].rows.size() == 1);
  CHECK(forests[1].rows[0].name == "cost");
}

TEST_CASE("the page says of turns the ratio, and a text of the terminal has a line per level and text") {
  json turns = entry("times", "", "1M", "confirmed", 0.02, 0.01);
  turns["contrasts"][0]["ratio"] = {{"estimate", 1.0123}, {"low", 1.001}, {"high", 1.023}};
  const json joined = joined_ledgers({ledger("times", {claim("cost", {turns})})});
  CHECK(contains(ledger_page(joined, ""), "1.012 [1.001,\u00a01.023] ×"));
  const std::string text = ledger_text(joined);
  CHECK(contains(text, "1.012 [1.001, 1.023] ×"));
  CHECK(contains(text, "1 M"));
}
