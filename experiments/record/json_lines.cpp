#include "experiments/record/json_lines.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "optim/config/checksum.hpp"
#include "optim/config/json_reader.hpp"

namespace scalevec::experiments {
namespace {

[[noreturn]] void fail(const std::filesystem::path& file) {
  throw RunError(file.string() + ": cannot be written: " + std::strerror(errno));
}

}  // namespace

JsonLines::JsonLines(std::filesystem::path file, std::string_view end)
    : file_(std::move(file)), checksum_(log_seed(file_)) {
  std::string kept;
  if (end != checksum_) {
    const LogLines log = read_log(file_, end);
    if (log.checksums.empty() || log.checksums.back() != end)
      throw RunError(file_.string() +
                     ": does not hold the lines that the run's checkpoint was written after: lines are missing, or the "
                     "log is another run's; allowed: the log as it was");
    for (const std::string& line : log.lines) kept += line + "\n";
    checksum_ = end;
  }
  std::error_code error;
  const auto size = std::filesystem::file_size(file_, error);
  if (!error && size != kept.size()) write_file(file_, kept);
  open();
}

JsonLines::JsonLines(std::filesystem::path file, std::int64_t last_step,
                     const std::function<bool(const nlohmann::json&)>& keep)
    : file_(std::move(file)), checksum_(log_seed(file_)) {
  std::string kept;
  bool dropped = false;
  {
    std::ifstream in(file_, std::ios::binary);
    for (std::string line; std::getline(in, line);) {
      const auto value = parse_json_if_sound(line);
      const bool sound = !in.eof() && value.is_object() && value.contains("step") && value["step"].is_number_integer();
      if (sound && value["step"].get<std::int64_t>() <= last_step && (!keep || keep(value)))
        kept += line + "\n";
      else
        dropped = true;
    }
  }
  if (dropped) write_file(file_, kept);
  open();
}

void JsonLines::open() {
  fd_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(file_);
}

JsonLines::~JsonLines() {
  if (fd_ >= 0) ::close(fd_);
}

void JsonLines::append(const nlohmann::json& line) { append_line(line.dump()); }

void JsonLines::append_line(std::string_view line) {
  const std::string text = chained_line(line, checksum_) + "\n";
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = ::write(fd_, text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(file_);
    written += static_cast<size_t>(n);
  }
}

void JsonLines::sync() {
  if (::fsync(fd_) != 0) fail(file_);
}

}  // namespace scalevec::experiments
