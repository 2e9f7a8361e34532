#include "experiments/compare/runner.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "experiments/compare/gpus.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "tests/compare/scratch.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
namespace fs = std::filesystem;

namespace {

// Stands for the program: `train CONFIG… --check`, or `train CONFIG --out CELL --resume`. What it does in a cell
// depends on its seed; every training call adds a line to CELL/calls.
constexpr const char* kProgram = R"SH(#!/bin/sh
for last; do :; done
if [ "$last" = --check ]; then
  shift
  for config; do
    [ "$config" = --check ] && exit 0
    grep -q '"bad"' "$config" && { echo "bad: unknown key" >&2; exit 2; }
    echo "right: $config"
  done
fi
config=$2
cell=$4
mkdir "$cell/running" && echo "$(ls -d "$(dirname "$cell")"/*/running | wc -l)" >> "$(dirname "$cell")/at-once"
trap 'rmdir "$cell/running"' EXIT
[ "$SLEEP" ] && sleep "$SLEEP"
echo call >> "$cell/calls"
echo "$CUDA_VISIBLE_DEVICES" > "$cell/gpu"
seed=$(sed -n 's/.*"seed": \([0-9]*\).*/\1/p' "$config")
case "$seed" in
  13) echo "step 1"; echo "error: out of luck" >&2; exit 1 ;;
  14) kill -9 $$ ;;
  15) echo '{"status": "diverged", "reason": "loss at step 2"}' > "$cell/summary.json"; exit 1 ;;
  16) exit 0 ;;
  19) echo "another process is at work on it" >&2; exit 75 ;;
  17) trap 'echo stopped > "$cell/checkpoint"; exit 143' TERM; touch "$cell/ready"; while :; do sleep 0.02; done ;;
esac
echo '{"status": "done", "val_loss": 1.25}' > "$cell/summary.$$" && mv "$cell/summary.$$" "$cell/summary.json"
)SH";

struct Setup {
  Scratch scratch;
  RunnerOptions options;
  std::ostringstream progress;

  Setup() {
    options.program = scratch.write("program.sh", kProgram);
    fs::permissions(options.program, fs::perms::owner_all);
    options.cores = 8;
    options.jobs = 2;
    options.progress = &progress;
  }

  Grid grid(const std::string& seeds, const std::string& base = "{}") {
    return read_grid(scratch.write(
        "grid.json", R"({"base": )" + base + R"(, "variants": {"p": {}}, "grid": {"seed": [)" + seeds + "]}}"));
  }
  RunnerResult run(const Grid& g) { return run_cells(g, scratch / "out", options); }
  std::string cell(int seed, const std::string& file) {
    return scratch.read("out/p/seed=" + std::to_string(seed) + "/" + file);
  }
};

}  // namespace

TEST_CASE("cells run once, and a second call skips the finished ones") {
  Setup s;
  s.options.manifest = {{"name", "g"}};
  const Grid grid = s.grid("1, 2, 3");
  const RunnerResult first = s.run(grid);
  CHECK(first.finished == 3);
  CHECK(first.failed.empty());
  CHECK(contains(s.progress.str(), "[3/3]"));
  CHECK(contains(s.progress.str(), "p/seed=2: val loss 1.2500"));
  CHECK(contains(s.scratch.read("out/compare.json"), "\"g\""));
  const auto config = nlohmann::json::parse(s.cell(1, "config-in.json"));
  CHECK(config == nlohmann::json{{"seed", 1}, {"threads", 4}});
  const RunnerResult second = s.run(grid);
  CHECK(second.skipped == 3);
  CHECK(second.finished == 0);
  CHECK(s.cell(2, "calls") == "call\n");
  // A longer grid in the same folder runs what is new.
  CHECK(s.run(s.grid("1, 2, 3, 4")).finished == 1);
}

TEST_CASE("cells are given the GPUs in turn, and one GPU is left to whoever finds it") {
  for (const auto& gpus : {std::vector<std::string>{"0", "GPU-7"}, std::vector<std::string>{"3"}}) {
    Setup s;
    s.options.gpus = gpus;
    setenv("SLEEP", "0.2", 1);
    setenv("CUDA_VISIBLE_DEVICES", "8", 1);
    s.run(s.grid("1, 2, 3, 4"));
    unsetenv("SLEEP");
    unsetenv("CUDA_VISIBLE_DEVICES");
    std::map<std::string, int> cells;
    for (const int seed : {1, 2, 3, 4}) ++cells[s.cell(seed, "gpu")];
    if (gpus.size() == 2)
      CHECK(cells == std::map<std::string, int>{{"0\n", 2}, {"GPU-7\n", 2}});
    else
      CHECK(cells == std::map<std::string, int>{{"8\n", 4}});
  }
}

TEST_CASE("the GPUs are those that CUDA_VISIBLE_DEVICES names, else those of the driver") {
  const Scratch scratch;
  for (const char* bus : {"0000:1a:00.0", "0000:1b:00.0"}) fs::create_directories(scratch / "gpus" / bus);
  CHECK(visible_gpus(scratch / "gpus") == std::vector<std::string>{"0", "1"});
  CHECK(visible_gpus(scratch / "none").empty());
  setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5", 1);
  CHECK(visible_gpus(scratch / "gpus") == std::vector<std::string>{"2", "GPU-5"});
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  CHECK(visible_gpus(scratch / "gpus").empty());
  unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST_CASE("a thread count in the configuration stands, and a cell keeps the one it began with") {
  Setup s;
  s.run(s.grid("1", R"({"threads": 3})"));
  CHECK(nlohmann::json::parse(s.cell(1, "config-in.json"))["threads"] == 3);
  s.run(s.grid("13, 2"));
  s.options.jobs = 1;
  s.run(s.grid("13, 2"));
  CHECK(nlohmann::json::parse(s.cell(13, "config-in.json"))["threads"] == 4);
  CHECK(s.cell(13, "calls") == "call\ncall\n");
}

TEST_CASE("cells that die don't take others along, are named, and are tried again") {
  Setup s;
  const Grid grid = s.grid("13, 14, 15, 16, 1");
  for (int call = 1; call <= 2; ++call) {
    const RunnerResult r = s.run(grid);
    CHECK(r.finished == (call == 1 ? 2u : 0u));
    CHECK(r.skipped == (call == 1 ? 0u : 2u));
    REQUIRE(r.failed.size() == 3);
    for (const auto& [cell, reason] : r.failed) {
      if (cell == "p/seed=13") CHECK(reason == "error: out of luck");
      if (cell == "p/seed=14") CHECK(contains(reason, "signal 9"));
      if (cell == "p/seed=16") CHECK(contains(reason, "exit status 0"));
    }
  }
  CHECK(contains(s.progress.str(), "p/seed=15: diverged: loss at step 2"));
  CHECK(contains(s.progress.str(), "p/seed=13: FAILED: error: out of luck"));
}

TEST_CASE("a folder that holds another configuration's cell is refused and left alone") {
  Setup s;
  s.run(s.grid("1, 2"));
  const std::string before = s.cell(2, "cell.json");
  const Grid other = s.grid("3, 2", R"({"steps": 5})");
  const std::string message = message_of<UsageError>([&] { s.run(other); });
  CHECK(contains(message, "p/seed=2"));
  CHECK(contains(message, "another configuration"));
  CHECK(s.cell(2, "cell.json") == before);
  CHECK(!fs::exists(s.scratch / "out/p/seed=3"));

  s.scratch.write("foreign/p/seed=1/thesis.tex", "\\begin");
  CHECK(contains(message_of<UsageError>([&] { run_cells(s.grid("1"), s.scratch / "foreign", s.options); }),
                 "not this comparison's"));
  CHECK(s.scratch.read("foreign/p/seed=1/thesis.tex") == "\\begin");
}

TEST_CASE("a comparison does not move into a folder that holds something else, and a wrong value is named first") {
  Setup s;
  s.scratch.write("out/summary.json", "{}");
  const auto with_manifest = [&](const Grid& grid) {
    s.options.manifest = grid_manifest(grid);
    s.run(grid);
  };
  const Grid good = s.grid("1"), bad = s.grid("1", R"({"bad": 1})");
  CHECK(
      contains(message_of<UsageError>([&] { with_manifest(good); }), "out: holds summary.json, which is not of this"));
  CHECK(message_of<ConfigError>([&] { with_manifest(bad); }) == "cell p/seed=1: bad: unknown key");
  CHECK(!fs::exists(s.scratch / "out/compare.json"));
  fs::remove(s.scratch / "out/summary.json");
  // What a launcher and a killed start leave, and a cell from another machine.
  s.scratch.write("out/job.out", "");
  s.scratch.write("out/.starting-host-1-abc/cell/cell.json", "{}");
  fs::create_directories(s.scratch / "out/p");
  with_manifest(good);
  CHECK(fs::exists(s.scratch / "out/compare.json"));
}

TEST_CASE("a configuration that the program refuses stops everything before it starts") {
  Setup s;
  const std::string message = message_of<ConfigError>([&] { s.run(s.grid("1, 2", R"({"bad": 1})")); });
  CHECK(message == "cell p/seed=1: bad: unknown key");
  CHECK(!fs::exists(s.scratch / "out"));
  s.options.program = s.scratch / "absent";
  CHECK(contains(message_of<ConfigError>([&] { s.run(s.grid("1")); }), "cannot be started"));
}

TEST_CASE("of configurations that are checked together, the wrong one is named") {
  Setup s;
  const Grid grid = read_grid(s.scratch.write(
      "grid.json", R"({"base": {}, "variants": {"a": {}, "b": {}, "c": {"bad": 1}, "d": {}}, "grid": {"seed": [1]}})"));
  CHECK(message_of<ConfigError>([&] { s.run(grid); }) == "cell c/seed=1: bad: unknown key");
  CHECK_FALSE(fs::exists(s.scratch / "out/a"));
}

TEST_CASE("a cell in another process's hands is neither finished nor failed") {
  Setup s;
  const RunnerResult r = s.run(s.grid("19, 1"));
  CHECK(r.finished == 1);
  CHECK(r.failed.empty());
  CHECK(r.busy == std::vector<std::string>{"p/seed=19"});
  CHECK(contains(s.progress.str(), "p/seed=19: left to another process"));
}

TEST_CASE("unfinished cells are those that a run would take, and naming them writes nothing") {
  Setup s;
  const auto names = [&](const Grid& grid) {
    std::vector<std::string> out;
    for (const Cell& cell : unfinished_cells(grid, s.scratch / "out", s.options)) out.push_back(cell.name);
    return out;
  };
  const Grid grid = s.grid("1, 13, 15, 2");
  CHECK(names(grid).size() == 4);
  CHECK(!fs::exists(s.scratch / "out"));
  s.run(s.grid("1, 13, 15"));
  CHECK(names(s.grid("1, 13, 15, 2")) == std::vector<std::string>{"p/seed=13", "p/seed=2"});
  CHECK(contains(message_of<UsageError>([&] { names(s.grid("1", R"({"steps": 5})")); }), "another configuration"));
  CHECK(contains(message_of<ConfigError>([&] { names(s.grid("7", R"({"bad": 1})")); }), "bad: unknown key"));
}

TEST_CASE("processes that start the same cells at the same moment leave whole cells and one list") {
  Setup s;
  s.options.jobs = 8;
  s.options.manifest = {{"name", "g"}};
  s.options.progress = nullptr;
  const Grid grid = s.grid("1, 2, 3, 4, 5, 6, 7, 8");
  std::vector<pid_t> starters;
  for (int i = 0; i < 6; ++i) {
    starters.push_back(fork());
    if (starters.back() == 0) {
      int status = 1;
      try {
        status = s.run(grid).failed.empty() ? 0 : 1;
      } catch (...) {
        status = 2;
      }
      _exit(status);
    }
  }
  for (const pid_t starter : starters) {
    int status = 0;
    waitpid(starter, &status, 0);
    CHECK(status == 0);
  }
  CHECK(s.run(grid).skipped == 8);
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(s.scratch / "out")) ++entries;
  CHECK(entries == 2);  // compare.json and p
  CHECK(*read_record(s.scratch / "out/compare.json") == s.options.manifest);
}

TEST_CASE("a signal is passed on to the children, which are waited for") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    Setup s;
    const Grid grid = s.grid("17, 1, 18");
    s.options.jobs = 1;
    std::thread sender([&] {
      // Bounded, so that a runner that never starts the cell fails the test instead of hanging it.
      for (int i = 0; i < 3000 && !fs::exists(s.scratch / "out/p/seed=17/ready"); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      kill(getpid(), signal);
    });
    const RunnerResult r = s.run(grid);
    sender.join();
    CHECK(r.signal == signal);
    CHECK(s.cell(17, "checkpoint") == "stopped\n");
    CHECK(!fs::exists(s.scratch / "out/p/seed=1"));
    CHECK(r.failed.empty());
  }
}

TEST_CASE("cells never ask for more threads together than there are cores") {
  setenv("SLEEP", "0.2", 1);
  const auto most_at_once = [](const std::string& base) {
    Setup s;
    s.options.cores = 4;
    s.options.jobs = 4;
    s.run(s.grid("1, 2, 3, 4, 5, 6", base));
    std::istringstream counts(s.scratch.read("out/p/at-once"));
    int most = 0;
    for (int n = 0; counts >> n;) most = std::max(most, n);
    return std::pair{most, nlohmann::json::parse(s.cell(1, "config-in.json"))["threads"].get<int>()};
  };
  CHECK(most_at_once(R"({"threads": 2})") == std::pair{2, 2});
  CHECK(most_at_once(R"({"threads": 9})") == std::pair{1, 9});
  // 0 means all cores to a run by itself; beside others it is a share of them.
  CHECK(most_at_once(R"({"threads": 0})").second == 1);
  unsetenv("SLEEP");
}

TEST_CASE("the data's hash belongs to the cell") {
  Setup s;
  const auto write_tokens = [&](std::uint16_t first) {
    for (const char* split : {"train", "val"}) {
      std::string bytes(1024, '\0');
      const std::int32_t header[] = {20240520, 1, 64};
      std::memcpy(bytes.data(), header, sizeof header);
      for (std::uint16_t i = 0; i < 64; ++i) {
        const auto token = static_cast<std::uint16_t>(first + i);
        bytes.append(reinterpret_cast<const char*>(&token), 2);
      }
      s.scratch.write("tokens/" + std::string(split) + ".bin", bytes);
    }
  };
  write_tokens(0);
  const std::string base = nlohmann::json{{"data", {{"dir", (s.scratch / "tokens").string()}}}}.dump();
  s.run(s.grid("1, 13", base));
  CHECK(nlohmann::json::parse(s.cell(1, "cell.json"))["data_hash"].get<std::string>().size() == 64);
  CHECK(s.run(s.grid("1, 13", base)).skipped == 1);
  write_tokens(7);
  CHECK(contains(message_of<UsageError>([&] { s.run(s.grid("1, 13", base)); }), "holds a run of other data"));
  // A cell of a version that did not record it goes on.
  for (const int seed : {1, 13}) {
    auto identity = nlohmann::json::parse(s.cell(seed, "cell.json"));
    identity.erase("data_hash");
    identity.erase("checksum");
    s.scratch.write("out/p/seed=" + std::to_string(seed) + "/cell.json", identity.dump());
  }
  CHECK(s.run(s.grid("1, 13", base)).skipped == 1);
}

TEST_CASE("a trunk is trained before its cells, once, and the cells wait for it") {
  Setup s;
  const auto grid = [&](const std::string& trunk_seed, const std::string& variant = "{}") {
    return read_grid(s.scratch.write("grid.json", R"({"base": {"steps": 9, "model": {"width": 8}}, "trunk": {"set":
        {"steps": 5, "seed": )" + trunk_seed + R"(}}, "variants": {"p": )" +
                                                      variant + R"(}, "grid": {"seed": [1, 2]}})"));
  };
  // A variant's mistake is found before the trunk is trained: it is checked with the trunk's model in its place.
  CHECK(contains(message_of<ConfigError>([&] { s.run(grid("3", R"({"model.bad": 1})")); }), "bad"));
  CHECK(!fs::exists(s.scratch / "out"));
  const Grid good = grid("3");
  const auto names = [&] {
    std::vector<std::string> out;
    for (const Cell& cell : unfinished_cells(good, s.scratch / "out", s.options)) out.push_back(cell.name);
    return out;
  };
  CHECK(names() == std::vector<std::string>{"trunk", "p/seed=1", "p/seed=2"});
  CHECK(s.run(good).finished == 2);
  CHECK(s.scratch.read("out/trunk/calls") == "call\n");
  CHECK(contains(s.progress.str(), "trunk: val loss 1.2500"));
  CHECK(nlohmann::json::parse(s.scratch.read("out/trunk/config-in.json")) ==
        nlohmann::json{{"steps", 5}, {"seed", 3}, {"threads", 8}, {"model", {{"width", 8}}}});
  CHECK(nlohmann::json::parse(s.cell(1, "config-in.json"))["model"]["from"] ==
        fs::absolute(s.scratch / "out/trunk@5").string());
  CHECK(names().empty());
  CHECK(s.run(good).skipped == 2);
  CHECK(s.scratch.read("out/trunk/calls") == "call\n");
  // Another trunk is another comparison.
  CHECK(contains(message_of<UsageError>([&] { s.run(grid("4")); }), "out/trunk: holds a run of another configuration"));

  // One that fails is tried again; its cells are not begun.
  Setup failing;
  const Grid bad = read_grid(failing.scratch.write("grid.json", R"({"base": {"steps": 9, "model": {}}, "trunk": {"set":
      {"steps": 5, "seed": 13}}, "variants": {"p": {}}, "grid": {"seed": [1]}})"));
  const RunnerResult result = failing.run(bad);
  REQUIRE(result.failed.size() == 1);
  CHECK(result.failed[0] == std::pair<std::string, std::string>{"trunk", "error: out of luck"});
  CHECK(!fs::exists(failing.scratch / "out/p"));
  failing.run(bad);
  CHECK(failing.scratch.read("out/trunk/calls") == "call\ncall\n");

  Setup diverging;
  const Grid diverges = read_grid(diverging.scratch.write("grid.json", R"({"base": {"steps": 9}, "trunk": {"set":
      {"steps": 5, "seed": 15}}, "variants": {"p": {}}, "grid": {"seed": [1]}})"));
  CHECK(diverging.run(diverges).failed.at(0).second == "diverged: loss at step 2");
  CHECK(contains(message_of<RunError>([&] { diverging.run(diverges); }), "the trunk diverged"));
}
