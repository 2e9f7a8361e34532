#include "experiments/record/json_lines.hpp"

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "tests/fuzz/targets.hpp"

using namespace scalevec::experiments;

// A log as the trainer repairs it when it resumes (the first byte gives the step) and as the report reads it.
void scalevec::fuzz::json_lines(std::string_view bytes) {
  if (bytes.empty()) return;
  const std::int64_t step = static_cast<signed char>(bytes[0]);
  const InputFile input(bytes.substr(1), ".jsonl");
  try {
    for (const auto& line : read_json_lines(input.path())) {
      number_at(line, "loss");
      text_at(line, "kind");
    }
  } catch (const RunError&) {
  }
  last_line(input.path());
  { JsonLines log(input.path(), step); }
  const std::string once = read_whole(input.path());
  {
    JsonLines log(input.path(), step);
    log.append({{"step", step}});
  }
  require(read_whole(input.path()).starts_with(once + "{\"step\":" + std::to_string(step) + ",\"checksum\":\""),
          "a repaired log needs no second repair");
  try {
    for (const auto& line : read_json_lines(input.path()))
      require(line.at("step").get<std::int64_t>() <= step, "a repaired log ends at the step");
  } catch (const RunError&) {  // a checksum in the input
  }
}
