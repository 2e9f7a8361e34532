#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

namespace scalevec {

// A JSONL log of objects with a "step", appended line by line and repaired when reopened.
class JsonLines {
 public:
  // Keeps the existing lines whose step is at most `last_step` and drops the rest: those past a checkpoint are written
  // again by the resumed run, and a torn last line is what a kill leaves. `keep`, if given, may drop more. Throws
  // RunError.
  JsonLines(std::filesystem::path file, std::int64_t last_step,
            const std::function<bool(const nlohmann::json& line)>& keep = {});
  ~JsonLines();
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;

  // Appends one line with one write, so that a reader never sees an incomplete line unless the system stops. A number
  // that is not finite is written as null. Throws RunError, for example on a full disk.
  void append(const nlohmann::json& line);
  // The same for a line that is text already, an object with a "step" without its line break.
  void append_line(std::string line);

  // Waits until the lines are on disk.
  void sync();

 private:
  std::filesystem::path file_;
  int fd_ = -1;
};

}  // namespace scalevec
