#include "experiments/commands/theory_command.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <thread>

#include "experiments/errors.hpp"
#include "experiments/figures/trained_runs.hpp"
#include "optim/config/json_reader.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

namespace fs = std::filesystem;

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

// Stands in for the LibTorch run, so that this test needs none: what a run would give without noise, off by a factor.
double stand_in_error = 0.0;
int stand_in_runs = 0;

theory::OutputScaleResult stand_in_run(const theory::OutputScaleCell& cell, const theory::SimulationOptions&) {
  const theory::OutputScaleToy& o = cell.toy;
  const double decay_target = cell.rule.decay_target;
  ++stand_in_runs;
  double low = std::min(o.target, decay_target), high = std::max(o.target, decay_target);
  for (int i = 0; i < 200; ++i) {
    const double gamma = (low + high) / 2, pull = o.h * (o.target - gamma);
    const bool up = pull / std::sqrt(pull * pull + o.sigma * o.sigma) > cell.rule.weight_decay * (gamma - decay_target);
    (up ? low : high) = gamma;
  }
  theory::OutputScaleResult result;
  result.gamma_mean = low * (1.0 + stand_in_error);
  return result;
}

struct Outcome {
  std::string output, error;
};

Outcome run(std::vector<std::string> arguments) {
  set_trained_runs({stand_in_run, nullptr, nullptr, nullptr});
  CLI::App app("scalevec");
  add_theory_command(app);
  arguments.insert(arguments.begin(), "theory");
  std::reverse(arguments.begin(), arguments.end());
  std::ostringstream output;
  std::streambuf* const before = std::cout.rdbuf(output.rdbuf());
  Outcome outcome;
  try {
    app.parse(arguments);
  } catch (const UsageError& e) {
    outcome.error = std::string("usage: ") + e.what();
  } catch (const ConfigError& e) {
    outcome.error = std::string("config: ") + e.what();
  } catch (const RunError& e) {
    outcome.error = std::string("run: ") + e.what();
  } catch (...) {
    std::cout.rdbuf(before);
    throw;
  }
  std::cout.rdbuf(before);
  outcome.output = output.str();
  return outcome;
}

std::string out_folder() { return (fs::temp_directory_path() / ("scalevec_t5_" + std::to_string(getpid()))).string(); }

// Few replicas at a large λ, where the scale settles fast and moves little.
const std::vector<std::string> kSmall = {"T5",    "--set",        "points=2", "--set",        "lambda_min=1",
                                         "--set", "lambda_max=3", "--set",    "replicas=1024"};

std::vector<std::string> small(std::vector<std::string> more) {
  more.insert(more.begin(), kSmall.begin(), kSmall.end());
  return more;
}

}  // namespace

TEST_CASE("theory lists its figures", "[figures]") {
  const Outcome list = run({"--list"});
  CHECK(list.error.empty());
  CHECK(contains(list.output, "T5  Weight decay on an output-norm scale"));
  for (const char* id : {"T1  ", "T10  ", "P1  ", "P2  ", "P3  ", "P4  ", "P5  ", "P6  ", "P7  "})
    CHECK(contains(list.output, id));
  CHECK(contains(list.output, "    sigma=1.5  "));
  CHECK(contains(list.output, "    replicas=512 (paper: 8192)  "));
}

TEST_CASE("theory refuses what it does not know", "[figures]") {
  const std::string out = out_folder();
  CHECK(contains(run({"T6x", "--out", out}).error, "usage: theory: unknown figure \"T6x\"; did you mean \"T6\"?"));
  CHECK(run({"--out", out}).error == "usage: theory: name figures, or --all; --list shows them");
  CHECK(run({"T5"}).error == "usage: theory: --out DIR is missing");
  CHECK(run({"T5", "--all", "--out", out}).error == "usage: theory: allowed: names of figures, or --all");
  CHECK(run({"T5", "--out", out, "--jobs", "0"}).error == "usage: --jobs: got 0; allowed: 1 to 256");
  CHECK(
      contains(run({"T5", "--out", out, "--set", "sigmo=1"}).error, "unknown key \"sigmo\"; did you mean \"sigma\"?"));
  CHECK(contains(run({"T5", "--out", out, "--set", "sigma"}).error, "usage: --set: got \"sigma\"; allowed: key=value"));
  CHECK(contains(run({"T5", "--out", out, "--set", "sigma=-1"}).error,
                 "config: sigma: got -1; allowed: a number, [0.001, 20]"));
  CHECK(contains(run({"T5", "--out", out, "--set", "sigma=1.5x"}).error,
                 "config: sigma: got \"1.5x\"; allowed: a number"));
  CHECK(
      contains(run({"T5", "--out", out, "--set", "points=2.5"}).error, "config: points: got 2.5; allowed: an integer"));
  CHECK(contains(run({"T5", "--out", out, "--set", "lambda_min=7"}).error, "usage: --set lambda_min"));
  CHECK(run({"T5", "--out", out, "--quality", "best"}).error ==
        "usage: --quality: got \"best\"; allowed: quick, paper");
  fs::remove_all(out);
}

// The noise is seeded, so this passes or fails for good. Over seeds: each of 12 points contains a standard error under
// 0.06 % of γ∞ and a bias under 0.15 %, so 0.5 % is more than five standard errors away, under 1e-5 false alarms.
TEST_CASE("T5 draws prediction, simulation and run, and says whether they agree", "[figures]") {
  const std::string out = out_folder();
  stand_in_error = 0.0;
  stand_in_runs = 0;
  const Outcome agrees = run(small({"--out", out}));
  CHECK(agrees.error.empty());
  CHECK(contains(agrees.output, "T5: off by 0.00"));
  CHECK(contains(agrees.output, ", allowed 0.005, ok\n"));
  CHECK(stand_in_runs == 2);
  for (const char* file : {"T5.csv", "T5.gp", "T5.svg", "T5.png", "T5.caption.txt"}) {
    INFO(file);
    CHECK(fs::exists(fs::path(out) / file));
  }
  CHECK(std::distance(fs::directory_iterator(out), {}) == 5);
  std::ifstream csv(fs::path(out) / "T5.csv");
  const std::string data{std::istreambuf_iterator<char>(csv), {}};
  CHECK(contains(data, "\nWhere the scale settles,\"AdamW, decay to 1\",1,"));
  CHECK(contains(data, "\nWhat it costs,\"flow (SGD), decay to 0\",1,"));

  stand_in_error = 0.02;
  const Outcome differs = run(small({"--out", out}));
  CHECK(contains(differs.output, "T5: off by 0.02, allowed 0.005, out\n"));
  CHECK(contains(differs.error, "run: prediction and simulation disagree: T5: off by 0.02"));
  stand_in_error = NAN;
  CHECK(contains(run(small({"--out", out})).error, "run: prediction and simulation disagree"));
  stand_in_error = 0.0;
  fs::remove_all(out);
}

TEST_CASE("over a run theory says how far the run is, and refuses T12 where nothing is trained by Muon", "[figures]") {
  const fs::path folder = out_folder() + "_run", out = out_folder();
  fs::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(folder / name) << text; };
  CHECK(contains(run({"T11", "--run", folder.string(), "--out", out.string()}).error, "holds no traced run"));
  write("config.json", R"({"steps": 400})");
  write("policy.json", R"({"rows": [{"name": "w", "group": "matrix", "method": "adamw"}]})");
  write("traces.jsonl", R"({"step": 1, "params": [], "groups": []})"
                        "\n");
  write("metrics.jsonl", R"({"kind": "train", "step": 120})"
                         "\n");
  const Outcome killed = run({"T12", "--run", folder.string(), "--out", out.string()});
  CHECK(killed.output == "run: " + folder.string() + ", unfinished after step 120 of 400\n");
  CHECK(killed.error == "usage: --run: " + folder.string() +
                            " trains nothing by Muon, whose updates T12 is about; T11 is the same for its methods");
  write("summary.json", R"({"status": "interrupted", "steps": 130})");
  const Outcome stopped = run({"T11", "--run", folder.string(), "--out", out.string()});
  CHECK(stopped.output == "run: " + folder.string() + ", interrupted after step 130 of 400\n");
  CHECK(contains(stopped.error, "has nothing that T11 predicts"));
  fs::remove_all(folder);
  fs::remove_all(out);
}

TEST_CASE("an interrupted theory ends at once, with whole files and the count of what it drew", "[figures]") {
  const fs::path out = out_folder() + "_stopped";
  fs::create_directories(out);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (!std::freopen((out / "messages").c_str(), "w", stderr)) std::_Exit(3);
    run({"T7", "P4", "--out", out.string()});
    std::_Exit(0);
  }
  int status = 0;
  pid_t ended = 0;
  // T7's last file; P4 takes seconds more.
  while (!fs::exists(out / "T7.caption.txt") && (ended = waitpid(child, &status, WNOHANG)) == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  REQUIRE(ended == 0);
  kill(child, SIGINT);
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 130));
  std::ifstream in(out / "messages");
  const std::string messages{std::istreambuf_iterator<char>(in), {}};
  CHECK(contains(messages, "of 2 figures drawn; the same command draws them all"));
  for (const auto& entry : fs::directory_iterator(out)) {
    INFO(entry.path().string());
    const std::string name = entry.path().filename().string();
    CHECK((name == "messages" || name.starts_with("T7.")));
  }
  fs::remove_all(out);
}

// Gradient descent without noise: the same on any seed.
TEST_CASE("P4 finds the boundary that the condition numbers predict", "[figures]") {
  const std::string out = out_folder() + "_p4";
  const Outcome drawn = run({"P4", "--out", out, "--set", "grid=7", "--set", "most=3000"});
  CHECK(drawn.error.empty());
  CHECK(contains(drawn.output, ", allowed 0.1, ok\n"));
  fs::remove_all(out);
}

TEST_CASE("without gnuplot a figure is its data, script and caption, and theory says so", "[figures]") {
  const std::string out = out_folder() + "_bare", path = std::getenv("PATH") ? std::getenv("PATH") : "";
  std::ostringstream messages;
  std::streambuf* const before = std::cerr.rdbuf(messages.rdbuf());
  setenv("PATH", "/nonexistent", 1);
  const Outcome drawn = run({"T7", "--out", out, "--set", "draws=20"});
  setenv("PATH", path.c_str(), 1);
  std::cerr.rdbuf(before);
  CHECK(drawn.error.empty());
  CHECK(messages.str() == "gnuplot is not on PATH: wrote the data and the scripts that draw them\n");
  for (const char* file : {"T7.csv", "T7.gp", "T7.caption.txt"}) CHECK(fs::exists(fs::path(out) / file));
  for (const char* file : {"T7.svg", "T7.png"}) CHECK_FALSE(fs::exists(fs::path(out) / file));
  fs::remove_all(out);
}
