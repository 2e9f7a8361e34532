#include "experiments/train/chrome_trace.hpp"

#include <nlohmann/json.hpp>

#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using std::chrono::microseconds;

namespace {

Phases::Clock::time_point after(int us) { return Phases::Clock::time_point(microseconds(1000 + us)); }

}  // namespace

TEST_CASE("a Chrome trace: steps, phases, operators by thread, in microseconds from the first step on") {
  const auto trace =
      nlohmann::json::parse(chrome_trace({{7, after(0), after(100)}, {8, after(110), after(200)}},
                                         {{Phase::forward, after(-50), after(-10)},  // before the first step
                                          {Phase::forward, after(5), after(40)},
                                          {Phase::checkpoint, after(150), after(190)}},
                                         {{"aten::mm", 3, after(6), after(9)},
                                          {"a \"quoted\"\n\\name", 9, after(50), after(60)},
                                          {"aten::mm", 3, after(10), after(12)},
                                          {"late", 3, after(199), after(300)}}));
  std::vector<nlohmann::json> complete;
  std::map<int, std::string> rows;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") == "X") complete.push_back(event);
    if (event.at("name") == "thread_name") rows[event.at("tid")] = event.at("args").at("name");
  }
  CHECK(rows == std::map<int, std::string>{
                    {0, "steps"}, {1, "phases"}, {2, "operators, thread 3"}, {3, "operators, thread 9"}});
  REQUIRE(complete.size() == 7);
  const auto is = [&](std::size_t i, const char* name, int row, double begin, double duration) {
    CHECK(complete[i].at("name") == name);
    CHECK(complete[i].at("tid") == row);
    CHECK(complete[i].at("ts") == begin);
    CHECK(complete[i].at("dur") == duration);
  };
  is(0, "step 7", 0, 0, 100);
  is(1, "step 8", 0, 110, 90);
  is(2, "forward", 1, 5, 35);
  is(3, "checkpoint", 1, 150, 40);
  is(4, "aten::mm", 2, 6, 3);
  is(5, "a \"quoted\"\n\\name", 3, 50, 10);
  is(6, "aten::mm", 2, 10, 2);
  CHECK(nlohmann::json::parse(chrome_trace({}, {}, {})).at("traceEvents").empty());
}

TEST_CASE("phases add up, and keep their events only while asked to") {
  Phases phases;
  phases.add({Phase::batch, after(0), after(10)});
  CHECK(phases.take_events().empty());
  phases.keep_events(true);
  phases.add({Phase::batch, after(20), after(50)});
  phases.add({Phase::log, after(50), after(51)});
  CHECK(phases.take_events().size() == 2);
  CHECK(phases.take_events().empty());
  CHECK(phases.seconds()[static_cast<std::size_t>(Phase::batch)] == Approx(40e-6));
  { const auto timed = phases.scope(Phase::forward); }
  CHECK(phases.take_events().size() == 1);
}
