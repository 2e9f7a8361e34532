#include "experiments/record/run_lock.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/staging_folder.hpp"

namespace scalevec::experiments {
namespace {

// Of the open file, not of the process: an unrelated close() in the same process does not free it, and a test of it
// (F_OFD_GETLK) takes nothing.
struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

std::string self() { return "process " + std::to_string(::getpid()) + " on " + host_name(); }

}  // namespace

RunLock::RunLock(const std::filesystem::path& folder, std::chrono::milliseconds patience) {
  const std::filesystem::path file = folder / "lock";
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) throw RunError(file.string() + ": cannot be written: " + std::strerror(errno));
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    struct flock lock = whole_file(F_WRLCK);
    held_ = ::fcntl(fd_, F_OFD_SETLK, &lock) == 0;
    if (held_ || (errno != EAGAIN && errno != EACCES) || std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (!held_ && errno != EAGAIN && errno != EACCES) {
    std::fprintf(stderr, "scalevec: %s: no file locks here (%s); see to it that only one process works on this run\n",
                 file.c_str(), std::strerror(errno));
    held_ = true;
  }
  if (!held_) return;
  const std::string text = self() + "\n";
  // Only for people to read: a full disk must not stop a run here.
  [[maybe_unused]] const bool told = ::ftruncate(fd_, 0) == 0 && ::pwrite(fd_, text.data(), text.size(), 0) > 0;
}

RunLock::~RunLock() {
  if (fd_ >= 0) ::close(fd_);
}

std::string lock_holder(const std::filesystem::path& folder) {
  const int fd = ::open((folder / "lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  struct flock lock = whole_file(F_RDLCK);
  const bool free = ::fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK;
  ::close(fd);
  if (free) return {};
  const std::string text = last_line(folder / "lock");
  return text.empty() ? "another process" : text;
}

}  // namespace scalevec::experiments
