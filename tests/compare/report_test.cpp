#include "experiments/compare/report.hpp"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "experiments/errors.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/plot/plot.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/runs/prediction_figures.hpp"
#include "tests/compare/fake_comparison.hpp"
#include "tests/compare/scratch.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

void write_run(const Scratch& scratch, const std::string& folder, const std::string& words, double loss) {
  json summary{{"status", "done"},       {"val_loss", loss},    {"seed", 1},
               {"git_commit", "c0ffee"}, {"data_hash", "d1ce"}, {"versions", {{"libtorch", "2.11.0"}}},
               {"machine", "2 cores"},   {"seconds", 60.0},     {"tokens", 4000}};
  scratch.write(folder + "/summary.json", summary.dump());
  scratch.write(folder + "/policy.json", json{{"words", words},
                                              {"groups",
                                               {{{"group", "matrix"},
                                                 {"method", "adamw"},
                                                 {"tensors", 4},
                                                 {"count", 1234},
                                                 {"lr", 0.003},
                                                 {"weight_decay", 0.1}}}}}
                                             .dump());
  std::string metrics, traces;
  for (int step = 10; step <= 100; step += 10) {
    const double x = loss + 10.0 / step;
    metrics +=
        json{{"kind", "train"}, {"step", step}, {"tokens", 40 * step}, {"loss", x}, {"grad_norm", x}}.dump() + "\n";
    metrics += json{{"kind", "val"}, {"step", step}, {"tokens", 40 * step}, {"loss", x}}.dump() + "\n";
    const json row{{"name", "scale.input"},
                   {"group", "scale.input"},
                   {"count", 8},
                   {"effective_lr", 1e-3 / step},
                   {"adaptive_lr", 2e-3},
                   {"update_ratio", 1e-3},
                   {"gamma_quantiles", {0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2}}};
    traces += json{{"step", step}, {"params", {row}}, {"groups", {row}}}.dump() + "\n";
  }
  scratch.write(folder + "/metrics.jsonl", metrics + R"({"kind": "tra)");
  scratch.write(folder + "/traces.jsonl", traces);
}

// A comparison's folder with these losses.
void write_comparison(const Scratch& scratch, const Comparison& c, const std::string& words) {
  json manifest = grid_manifest(c.grid);
  manifest["command"] = "scalevec compare 'a & b.json'";
  scratch.write("cmp/compare.json", manifest.dump());
  for (size_t i = 0; i < c.outcomes.size(); ++i) {
    if (c.outcomes[i].state != CellOutcome::State::missing)
      scratch.write("cmp/" + c.grid.cells[i].name + "/cell.json", json{{"hash", c.grid.cells[i].hash}}.dump());
    if (c.outcomes[i].state == CellOutcome::State::done)
      write_run(scratch, "cmp/" + c.grid.cells[i].name, words, c.outcomes[i].loss);
    if (c.outcomes[i].state == CellOutcome::State::diverged)
      scratch.write("cmp/" + c.grid.cells[i].name + "/summary.json", R"({"status": "diverged"})");
  }
}

}  // namespace

TEST_CASE("a comparison's report holds every number, name and picture and needs nothing from elsewhere") {
  const Scratch scratch;
  const Comparison c = fake_comparison({0.001, 0.002, 0.003}, {}, {1, 2, 3},
                                       {{"base", {{3.0, 3.0, 3.0}, {2.0, 2.1, 2.2}, {2.5, 2.5, 2.5}}},
                                        {"<b>&\"x\"", {{1.9, 1.9, 1.9}, {1.8, 1.9, 2.2}, {kDiverged, 3.0, kMissing}}}});
  write_comparison(scratch, c, "Decay on <matrices> only.");
  write_report({scratch / "cmp"}, scratch / "page/report.html", "");
  const std::string page = scratch.read("page/report.html");

  for (const char* part : {"base",
                           "&lt;b&gt;&amp;&quot;x&quot;",
                           "2.1000",
                           "2.0000",
                           "1.9667",
                           "\u22120.1000 [\u22120.3484,\u00a0+0.1484]",
                           "\u22120.1333",
                           "lowest lr tried",
                           "8 of 9, 1 diverged, 1 missing",
                           "lr=0.002",
                           "v1/lr=0.003000,seed=3",
                           "not started",
                           "Decay on &lt;matrices&gt; only.",
                           "c0ffee",
                           "d1ce",
                           "libtorch 2.11.0",
                           "2 cores",
                           "1, 2, 3",
                           "scalevec compare &#39;a &amp; b.json&#39;",
                           "1234"})
    CHECK(contains(page, part));
  CHECK(!contains(page, "<b>"));
  CHECK(!contains(page, "<matrices>"));
  for (const char* part : {"src=", "href=\"http", "href='http", "@import", "<script ", "<link", "url("})
    CHECK(!contains(page, part));

  // The answer comes first, then the findings, the table, the curves.
  size_t last = 0;
  for (const char* part : {"<h1>", "id=\"figure-answer\"", "<ul class=\"findings\">", "<table>",
                           "id=\"figure-loss_lr\"", "<summary>Optimizer policies</summary>"}) {
    INFO(part);
    CHECK(page.find(part) != std::string::npos);
    CHECK(page.find(part) > last);
    last = page.find(part);
  }
  for (const char* figure :
       {"loss_lr", "difference", "loss", "grad_norm", "effective_lr", "adaptive_lr", "update_ratio", "gamma"}) {
    INFO(figure);
    CHECK(contains(page, std::string("<figure id=\"figure-") + figure + "\">"));
    for (const char* end : {".csv", ".gp"})
      CHECK(fs::file_size(scratch / (std::string("page/report_files/") + figure + end)) > 0);
    for (const char* end : {".png", ".svg"})
      CHECK(fs::exists(scratch / (std::string("page/report_files/") + figure + end)) == have_gnuplot());
  }
  CHECK(contains(page, "data-key=\"&lt;b&gt;&amp;&quot;x&quot;\""));

  const json numbers = json::parse(scratch.read("page/report.json"));
  CHECK(numbers["selection"] == "leave_one_out");
  REQUIRE(numbers["variants"].size() == 2);
  const json& v = numbers["variants"][1];
  CHECK(v["name"] == "<b>&\"x\"");
  CHECK(v["best"]["optimizer.lr"] == 0.001);
  CHECK(v["edge"] == "low");
  CHECK(v["own"]["losses"] == json({1.9, 1.9, 2.2}));
  CHECK(std::abs(v["own"]["difference"]["mean"].get<double>() - -0.1) <= 1e-12);
  CHECK(v["diverged"] == 1);
  CHECK(v["lr_curve"][2]["diverged"] == 1);
  CHECK(numbers["ranking"][0]["variant"] == "<b>&\"x\"");
  CHECK(numbers["ranking"][0]["resolution"] == "open");
  CHECK(numbers["ranking"][1]["holm"].is_null());
  CHECK(numbers["missing"].size() == 1);
  CHECK(numbers["cells"].size() == 18);
  CHECK(numbers["variants"][0]["own"]["difference"].is_null());
}

TEST_CASE("runs are reported side by side, unfinished ones too") {
  const Scratch scratch;
  write_run(scratch, "one", "All by AdamW.", 2.5);
  scratch.write("two/metrics.jsonl", "{\"kind\": \"train\", \"step\": 1, \"tokens\": 4, \"loss\": 3.0}\n");
  write_report({scratch / "one", scratch / "two"}, scratch / "r.html", "My <runs>");
  const std::string page = scratch.read("r.html");
  for (const char* part : {"<h1>My &lt;runs&gt;</h1>", "2.5000", "unfinished", "All by AdamW.", "c0ffee"})
    CHECK(contains(page, part));
  CHECK(json::parse(scratch.read("r.json"))["runs"].size() == 2);
}

TEST_CASE("a comparison of one variant, of diverged runs or without spread has a page that says so") {
  const auto page_of = [](const std::vector<FakeVariant>& variants) {
    const Scratch scratch;
    write_comparison(scratch, fake_comparison({1}, {}, {1, 2, 3}, variants), "");
    write_report({scratch / "cmp"}, scratch / "r.html", "");
    return scratch.read("r.html");
  };
  const std::vector<double> dead(3, kDiverged), absent(3, kMissing);
  const FakeVariant base{"base", {{2.0, 2.1, 2.2}}};
  CHECK(contains(page_of({base}), "<li>There is one variant, so that there is nothing to compare it with.</li>"));
  const std::string two = page_of({base, {"dead", {dead}}, {"absent", {absent}}, {"other", {{2.1, 2.1, 2.1}}}});
  CHECK(contains(two, ">diverged</span>"));
  CHECK(contains(two, ">no finished run</span>"));
  CHECK(contains(two, "at which both base and dead or absent finished"));
  const std::string none = page_of({{"base", {dead}}, {"dead", {dead}}});
  CHECK(contains(none, "The runs have recorded nothing to draw."));
  CHECK(!contains(none, "figure-answer"));
  CHECK(contains(none, "Diverged runs: 3 of base and 3 of dead."));
  CHECK(contains(page_of({base, {"same", {{2.0, 2.1, 2.2}}}}), "The losses of same are those of base, seed by seed"));
  CHECK(contains(page_of({{"base", {{2.0, 2.25, 2.5}}}, {"rigid", {{2.5, 2.75, 3.0}}}}),
                 "The difference is the same for every seed for rigid, so that there is no interval"));
  for (const std::string& page : {two, none}) {
    CHECK(!contains(page, "nan"));
    CHECK(!contains(page, "inf "));
  }
}

TEST_CASE("a folder that is no run is refused, and nothing is written") {
  const Scratch scratch;
  fs::create_directories(scratch / "empty");
  CHECK_THROWS_AS(write_report({scratch / "empty"}, scratch / "r.html", ""), UsageError);
  scratch.write("cmp/compare.json", "{}");
  CHECK_THROWS_AS(write_report({scratch / "cmp"}, scratch / "r.html", ""), UsageError);
  CHECK_THROWS_AS(write_report({scratch / "cmp", scratch / "empty"}, scratch / "r.html", ""), UsageError);
  CHECK(!fs::exists(scratch / "r.html"));
}

TEST_CASE("a report is never written over a record") {
  const Scratch scratch;
  write_run(scratch, "one", "All by AdamW.", 2.5);
  const std::string summary = scratch.read("one/summary.json");
  for (const char* name : {"summary.json", "config.json", "metrics.jsonl", "compare.json", "summary.html",
                           "config.html", "compare", "r.json"}) {
    CHECK(contains(message_of<UsageError>([&] { write_report({scratch / "one"}, scratch / "one" / name, ""); }),
                   "allowed: "));
  }
  CHECK(scratch.read("one/summary.json") == summary);
  CHECK(!fs::exists(scratch / "one/config.json"));
  CHECK(!fs::exists(scratch / "one/summary.html"));
  CHECK(contains(message_of<UsageError>([&] { write_report({scratch / "one"}, scratch / "one", ""); }), "is a folder"));
}

TEST_CASE("a damaged line costs its cell, by name, and not the report") {
  const Scratch scratch;
  const Comparison c = fake_comparison({1}, {}, {1, 2, 3}, {{"base", {{2, 2, 2}}}, {"a", {{1, 1.1, 1.2}}}});
  write_comparison(scratch, c, "words");
  const std::string hurt = c.grid.cells[1].name;
  const std::string log = scratch.read("cmp/" + hurt + "/traces.jsonl");
  scratch.write("cmp/" + hurt + "/traces.jsonl", "{\"step\": 1, \n" + log);
  write_report({scratch / "cmp"}, scratch / "r.html", "");
  const json numbers = json::parse(scratch.read("r.json"));
  REQUIRE(numbers["missing"].size() == 1);
  CHECK(numbers["missing"][0]["cell"] == hurt);
  CHECK(contains(numbers["missing"][0]["reason"].get<std::string>(), "traces.jsonl: line 1 is not JSON"));
}

TEST_CASE("a torn last line is left out, a torn middle refused") {
  const Scratch scratch;
  CHECK(read_json_lines(scratch.write("a", "{\"x\": 1}\n{\"x\": 2}\n{\"x\"")).size() == 2);
  CHECK(read_json_lines(scratch / "absent").empty());
  for (const char* name : {"step-99999990", "step-100000000", "step-00000003", "step-7.bak", "step-"})
    fs::create_directories(scratch / "run/checkpoints" / name);
  const auto checkpoints = checkpoint_folders(scratch / "run");
  REQUIRE(checkpoints.size() == 3);
  CHECK(checkpoints.front().filename() == "step-00000003");
  CHECK(checkpoints.back().filename() == "step-100000000");
  CHECK(contains(message_of<RunError>([&] { read_json_lines(scratch.write("b", "{\"x\": 1}\n{\"x\n{\"x\": 2}\n")); }),
                 "line 2"));
}

TEST_CASE("negative numbers get a minus sign, hyphens stay") {
  CHECK(html::number("-0.5 [-1, +2] leave-one-out a-1 < 95 %") ==
        "\u22120.5 [\u22121,\u00a0+2] leave-one-out a-1 &lt; 95\u00a0%");
}

TEST_CASE("a run's report draws theory over the run and says where they part") {
  Scratch scratch;
  write_run(scratch, "one", "Words.", 1.0);
  CHECK(!contains((write_report({scratch / "one"}, scratch / "r.html", ""), scratch.read("r.html")),
                  "Theory over the run"));
  std::string traces;
  for (int step = 10; step <= 100; step += 10) {
    const json row{{"name", "matrix"},      {"group", "matrix"}, {"count", 8},
                   {"rotation", 0.1},       {"param_norm", 2.0}, {"predicted_rotation", step < 50 ? 0.1 : 0.05},
                   {"predicted_norm", 2.05}};
    traces += json{{"step", step}, {"params", json::array()}, {"groups", {row}}}.dump() + "\n";
  }
  scratch.write("one/traces.jsonl", traces);
  write_report({scratch / "one"}, scratch / "r.html", "");
  const std::string page = scratch.read("r.html");
  CHECK(contains(page, "Theory over the run"));
  CHECK(contains(
      page, "parts at step 50; furthest off at step 50: 100 % above; at the end: 100 % above; within 10 % at 4 of 10"));
  const json numbers = json::parse(scratch.read("r.json"))["predictions"];
  REQUIRE(numbers.size() == 2);
  CHECK(numbers[0]["parts_at_step"] == 50.0);
  CHECK(numbers[1]["parts_at_step"].is_null());
  CHECK(numbers[1]["within_10_percent"] == 10);
  if (have_gnuplot()) CHECK(fs::exists(scratch / "r_files/predicted_groups.png"));
}

TEST_CASE("of many runs theory is drawn over the first, and all are in the table") {
  Scratch scratch;
  const json row{{"name", "matrix"},  {"group", "matrix"},         {"count", 8},           {"rotation", 0.1},
                 {"param_norm", 2.0}, {"predicted_rotation", 0.1}, {"predicted_norm", 2.0}};
  std::vector<RunGroup> groups;
  for (int i = 0; i < 250; ++i) {
    const std::string name = "run" + std::to_string(i);
    scratch.write(name + "/traces.jsonl",
                  json{{"step", 10}, {"params", json::array()}, {"groups", {row}}}.dump() + "\n");
    groups.push_back({name, {scratch / name}, {1}, i});
  }
  const PredictionReport report = prediction_report(groups, false);
  REQUIRE(report.plots.size() == 1);
  // Twice the size in the PNG, where Cairo takes 32767 pixels.
  CHECK(report.plots[0].panels.size() / 2 * static_cast<size_t>(report.plots[0].panel_height) * 2 < 32767);
  CHECK(contains(report.plots[0].caption, "Of 250 runs the first 12 are drawn"));
  CHECK(report.rows.size() == 500);
}

// 2(1 + .9)/(1 − .9) over the mean steps: .3 of everything, (.3 + 1·.1)/2 of the pair at ‖w‖/γ = 1.
TEST_CASE("a report draws a probed run's curvature with its limit") {
  Scratch scratch;
  write_run(scratch, "one", "Words.", 1.0);
  const json options{{"beta1", 0.9}, {"beta2", 0.95}};
  scratch.write("one/policy.json",
                json{{"rows", {{{"name", "g"}, {"options", options}}, {{"name", "w"}, {"options", options}}}},
                     {"scales", {{{"name", "g"}, {"form", "plain"}, {"rows", 4}, {"readers", {"w"}}}}}}
                    .dump());
  const json scale{{"name", "g"}, {"count", 4}, {"param_norm", 2.0}, {"adaptive_lr", 0.1}, {"w_gamma_ratio", 1.0}};
  const json map{{"name", "w"}, {"count", 16}, {"param_norm", 2.0}, {"adaptive_lr", 0.3}};
  scratch.write("one/traces.jsonl",
                json{{"step", 1}, {"params", {scale, map}}, {"groups", json::array()}}.dump() + "\n");
  const json largest{{"largest", 10.0}};
  scratch.write("one/probe.json",
                json{{"points", {{{"step", 0}, {"sharpness", {{"whole", largest}, {"g", largest}}}}}}}.dump());
  write_report({scratch / "one"}, scratch / "r.html", "");
  const json numbers = json::parse(scratch.read("r.json"))["predictions"];
  REQUIRE(numbers.size() == 2);
  CHECK(numbers[0]["of"] == "g");
  CHECK(numbers[0]["last_log_ratio"].get<double>() == Approx(std::log(10.0 / (38.0 / 0.2))));
  CHECK(numbers[1]["last_log_ratio"].get<double>() == Approx(std::log(10.0 / (38.0 / 0.3))));
}
