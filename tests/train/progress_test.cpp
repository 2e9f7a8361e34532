#include "experiments/train/progress.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

History history(const std::vector<double>& values, History::Keep keep = History::Keep::mean,
                std::size_t capacity = 64) {
  History out(capacity, keep);
  for (const double v : values) out.add(v);
  return out;
}

// Characters on the screen: bytes that do not continue a UTF-8 character.
std::size_t columns_of(const std::string& text) {
  std::size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

ProgressView view() {
  ProgressView v{120, 500, 1.23456, 3e-3, 0.5151, 12345.0, 83.0, {Phase::backward, 0.543}};
  return v;
}

}  // namespace

TEST_CASE("a sparkline's heights are eighths between the least and the largest") {
  CHECK(sparkline(std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8}, true) == "▁▂▃▄▅▆▇██");
  CHECK(sparkline(std::vector<double>{8, 0, 3.99, 4}, false) == "#_~=");
  CHECK(sparkline(std::vector<double>{3, 3}, true) == "▅▅");
  CHECK(sparkline(std::vector<double>{}, true).empty());
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(sparkline(std::vector<double>{1, NAN, 2, inf, -inf}, false) == "_!#!!");
  CHECK(sparkline(std::vector<double>{NAN}, false) == "!");
  CHECK(sparkline(std::vector<double>{-1.7e308, 0, 1.7e308}, false) == "_=#");
}

TEST_CASE("a history keeps the whole series in fixed memory: means, or the largest values, of equal stretches") {
  std::vector<double> values;
  for (int i = 0; i < 64; ++i) values.push_back(i);
  // 64 values in 8 places: stretches of 8.
  CHECK(history(values, History::Keep::mean, 8).values() ==
        std::vector<double>{3.5, 11.5, 19.5, 27.5, 35.5, 43.5, 51.5, 59.5});
  CHECK(history(values, History::Keep::largest, 8).values() == std::vector<double>{7, 15, 23, 31, 39, 47, 55, 63});
  values.push_back(100);
  CHECK(history(values, History::Keep::mean, 8).values() == std::vector<double>{7.5, 23.5, 39.5, 55.5, 100});
  values.push_back(200);
  CHECK(history(values, History::Keep::mean, 8).values().back() == 150);
  values[20] = 1e6;
  CHECK(history(values, History::Keep::largest, 8).values()[1] == 1e6);
  values[20] = NAN;
  CHECK(std::isnan(history(values, History::Keep::largest, 8).values()[1]));
  CHECK(history(values, History::Keep::largest, 8).values()[0] == 15);
}

TEST_CASE("the slowest phase is the one that took most of the time between two readings") {
  PhaseSeconds before{}, now{};
  CHECK(slowest_phase(now, before).share == 0.0);
  before = {1, 10, 1, 1, 0, 0, 0, 0};
  now = {2, 11, 7, 3, 0, 0, 0, 0};
  CHECK(slowest_phase(now, before).phase == Phase::backward);
  CHECK(slowest_phase(now, before).share == 0.6);
}

TEST_CASE("phases add up, and tell a watcher when they begin and end") {
  Phases phases;
  phases.add(Phase::batch, std::chrono::microseconds(10));
  phases.add(Phase::batch, std::chrono::microseconds(30));
  CHECK(phases.seconds()[static_cast<std::size_t>(Phase::batch)] == Approx(40e-6));
  std::string told;
  phases.set_watcher(
      [&](Phase phase, bool begins) { told += std::string(to_string(phase)) + (begins ? " begins; " : " ends; "); });
  { const auto timed = phases.scope(Phase::forward); }
  CHECK(told == "forward begins; forward ends; ");
  phases.set_watcher({});
  { const auto timed = phases.scope(Phase::log); }
  CHECK(told == "forward begins; forward ends; ");
}

TEST_CASE("the screen: two lines, the second with both sparklines and the slowest part of the step") {
  const History loss = history({4, 3, 2, 1}), norm = history({1, 8, 1, 1}, History::Keep::largest);
  CHECK(progress_screen(view(), loss, norm, 100, true) ==
        "step 120/500  loss 1.2346  lr 0.003  12.3k tokens/s  1:23 left\n"
        "loss █▆▃▁  grad norm ▁█▁▁ 0.515  backward 54 %");
  CHECK(progress_screen(view(), loss, norm, 100, false) ==
        "step 120/500  loss 1.2346  lr 0.003  12.3k tokens/s  1:23 left\n"
        "loss #+-_  grad norm _#__ 0.515  backward 54 %");
  ProgressView toy = view();
  toy.tokens_per_second = 0.0;
  toy.slowest.share = 0.0;
  toy.seconds_left = 3723;
  CHECK(progress_screen(toy, loss, norm, 100, false) ==
        "step 120/500  loss 1.2346  lr 0.003  1:02:03 left\nloss #+-_  grad norm _#__ 0.515");
}

TEST_CASE("no line of the screen is wider than the terminal, whatever its width") {
  std::vector<double> values;
  for (int i = 0; i < 1000; ++i) values.push_back(std::sin(i * 0.1) + 2.0);
  const History loss = history(values, History::Keep::mean, 128), norm = history(values, History::Keep::largest, 128);
  for (int columns = 1; columns <= 300; ++columns) {
    INFO(columns);
    const std::string screen = progress_screen(view(), loss, norm, columns, true);
    const std::size_t end = screen.find('\n');
    CHECK(columns_of(screen.substr(0, end)) <= static_cast<std::size_t>(columns));
    if (end != std::string::npos) CHECK(columns_of(screen.substr(end + 1)) <= static_cast<std::size_t>(columns));
    CHECK((end != std::string::npos) == (columns >= 38 + 8));
  }
}
