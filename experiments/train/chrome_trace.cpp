#include "experiments/train/chrome_trace.hpp"

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

namespace scalevec::experiments {
namespace {

using TimePoint = Phases::Clock::time_point;

// Rows of the picture: Chrome calls them threads.
constexpr int kStepRow = 0, kPhaseRow = 1, kFirstOperatorRow = 2;

double microseconds(Phases::Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

class Events {
 public:
  explicit Events(TimePoint start) : start_(start) {}

  void row(int row, const std::string& name) {
    put(R"({"name":"thread_name","ph":"M","pid":1,"tid":)" + std::to_string(row) + R"(,"args":{"name":)" +
        nlohmann::json(name).dump() + "}}");
    put(R"({"name":"thread_sort_index","ph":"M","pid":1,"tid":)" + std::to_string(row) + R"(,"args":{"sort_index":)" +
        std::to_string(row) + "}}");
  }

  void complete(int row, const std::string& name, const char* category, TimePoint begin, TimePoint end) {
    char times[96];
    std::snprintf(times, sizeof times, R"(,"ts":%.3f,"dur":%.3f})", microseconds(begin - start_),
                  microseconds(end - begin));
    put(R"({"name":)" + nlohmann::json(name).dump() + R"(,"cat":")" + category + R"(","ph":"X","pid":1,"tid":)" +
        std::to_string(row) + times);
  }

  std::string text() const { return "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n" + text_ + "\n]}\n"; }

 private:
  void put(const std::string& event) { text_ += (text_.empty() ? "" : ",\n") + event; }

  TimePoint start_;
  std::string text_;
};

}  // namespace

std::string chrome_trace(const std::vector<StepEvent>& steps, const std::vector<Phases::Event>& phases,
                         const std::vector<OperatorEvent>& operators) {
  if (steps.empty()) return Events(TimePoint{}).text();
  const TimePoint begin = steps.front().begin, end = steps.back().end;
  const auto inside = [&](const auto& event) { return event.begin >= begin && event.end <= end; };
  Events out(begin);
  out.row(kStepRow, "steps");
  out.row(kPhaseRow, "phases");
  for (const StepEvent& s : steps) out.complete(kStepRow, "step " + std::to_string(s.step), "step", s.begin, s.end);
  for (const Phases::Event& p : phases)
    if (inside(p)) out.complete(kPhaseRow, std::string(to_string(p.phase)), "phase", p.begin, p.end);
  std::map<std::uint64_t, int> rows;
  for (const OperatorEvent& o : operators) {
    if (!inside(o)) continue;
    const auto [row, is_new] = rows.emplace(o.thread, kFirstOperatorRow + static_cast<int>(rows.size()));
    if (is_new) out.row(row->second, "operators, thread " + std::to_string(o.thread));
    out.complete(row->second, o.name, "operator", o.begin, o.end);
  }
  return out.text();
}

}  // namespace scalevec::experiments
