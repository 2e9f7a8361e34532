#include "experiments/system/file_io.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>

#include "experiments/errors.hpp"
#include "optim/config/checksum.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

struct Descriptor {
  int fd;
  explicit Descriptor(int fd) : fd(fd) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
};

// The temporary file of a write, empty, for this process alone: another that writes the same file at this moment is
// waited for. −1 with the reason in errno.
int open_alone(const fs::path& temporary) {
  constexpr int kTries = 500;
  for (int i = 0; i < kTries; ++i) {
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return -1;
    const bool busy = ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    // Who had it before may have renamed it since it was opened.
    if (!busy && is_still(fd, temporary)) {
      if (::ftruncate(fd, 0) == 0) return fd;
      const int reason = errno;
      ::close(fd);
      errno = reason;
      return -1;
    }
    ::close(fd);
    if (busy) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  errno = EBUSY;
  return -1;
}

}  // namespace

bool is_still(int fd, const fs::path& file) {
  struct stat open {};
  struct stat named {};
  return ::fstat(fd, &open) == 0 && ::stat(file.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
}

void write_file(const fs::path& file, std::string_view text) {
  const fs::path temporary = file.string() + ".tmp";
  const int fd = open_alone(temporary);
  std::FILE* out = fd < 0 ? nullptr : ::fdopen(fd, "wb");
  const bool ok = out != nullptr && std::fwrite(text.data(), 1, text.size(), out) == text.size() &&
                  std::fflush(out) == 0 && ::fsync(fd) == 0 && std::rename(temporary.c_str(), file.c_str()) == 0;
  const int reason = errno;
  if (!ok && fd >= 0) ::unlink(temporary.c_str());
  if (out != nullptr)
    std::fclose(out);  // only now, with the lock
  else if (fd >= 0)
    ::close(fd);
  if (!ok) throw RunError(file.string() + ": cannot write: " + std::strerror(reason));
}

void write_record(const fs::path& file, std::string_view json_text) { write_file(file, with_checksum(json_text)); }

nlohmann::json checked_record(std::string_view text, const fs::path& file) {
  bool absent = false;
  nlohmann::json value = parse_record(text, file.string(), &absent);
  if (absent) note_without_checksum(file);
  return value;
}

void note_without_checksum(const fs::path& file) {
  static std::once_flag said;
  std::call_once(said, [&] {
    std::fprintf(stderr,
                 "scalevec: %s has no checksum, as files of version 0.1 have none; such files are read unchecked\n",
                 file.c_str());
  });
}

void sync_folder(const fs::path& folder) {
  const Descriptor d(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (d.fd < 0 || ::fsync(d.fd) != 0) throw RunError(folder.string() + ": cannot sync: " + std::strerror(errno));
}

}  // namespace scalevec::experiments
