#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace scalevec::experiments {

// A JSONL log of objects with a "step", appended line by line and repaired when reopened. Every line has a running
// checksum (chained_line() of optim/config/checksum.hpp), the first one's of the log's name and the run's config.json.
class JsonLines {
 public:
  // Goes on after the line whose checksum is `end`, what checksum() was at a checkpoint, and drops what follows: the
  // resumed run writes it again, and a torn last line is what a kill leaves. RunError if a line up to there is damaged
  // or there is no such line.
  JsonLines(std::filesystem::path file, std::string_view end);

  // For a checkpoint of a version without checksums (and step −1: for none): keeps the lines whose step is at most
  // `last_step` and that `keep`, if given, takes. Throws RunError.
  JsonLines(std::filesystem::path file, std::int64_t last_step,
            const std::function<bool(const nlohmann::json& line)>& keep = {});
  ~JsonLines();
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;

  // Appends one line with one write, so that a reader never sees an incomplete line unless the system stops. A number
  // that is not finite is written as null. Throws RunError, for example on a full disk.
  void append(const nlohmann::json& line);
  // The same for a line that is text already, an object with a "step" without its line break.
  void append_line(std::string_view line);

  // Waits until the lines are on disk.
  void sync();

  // The running checksum of the lines so far.
  const std::string& checksum() const { return checksum_; }

 private:
  void open();

  std::filesystem::path file_;
  std::string checksum_;
  int fd_ = -1;
};

}  // namespace scalevec::experiments
