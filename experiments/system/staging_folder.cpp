#include "experiments/system/staging_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "experiments/errors.hpp"
#include "experiments/system/file_io.hpp"

namespace scalevec::experiments {

namespace fs = std::filesystem;

StagingFolder::StagingFolder(const fs::path& target)
    : target_(target), path_(target.parent_path() / ("." + target.filename().string() + ".scalevec-partial")) {
  std::error_code error;
  fs::create_directories(path_, error);
  fd_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0) throw RunError(path_.string() + ": cannot create: " + (error ? error.message() : std::strerror(errno)));
  // Renamed since it was opened, it is another program's finished folder.
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 || !is_still(fd_, path_)) {
    ::close(fd_);
    throw UsageError(target.string() + ": another scalevec is writing it");
  }
  for (const auto& entry : fs::directory_iterator(path_)) fs::remove_all(entry.path());
}

StagingFolder::~StagingFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(path_, ignored);
  ::close(fd_);
}

void StagingFolder::commit() {
  sync_folder(path_);
  if (::rename(path_.c_str(), target_.c_str()) != 0) {
    throw RunError(target_.string() + ": cannot rename the finished folder to it: " + std::strerror(errno));
  }
  committed_ = true;
  sync_folder(target_.parent_path());
}

TemporaryFolder::TemporaryFolder(const fs::path& pattern) {
  // One that was taken for left behind before it had its lock is made anew.
  while (fd_ < 0) {
    std::string path = pattern.string();
    if (!mkdtemp(path.data())) throw RunError(path + ": cannot be made: " + std::strerror(errno));
    path_ = path;
    fd_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd_ < 0 && errno != ENOENT) throw RunError(path + ": cannot be made: " + std::strerror(errno));
    if (fd_ >= 0 && ((::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) || !is_still(fd_, path_)))
      ::close(std::exchange(fd_, -1));
  }
}

void TemporaryFolder::remove_if_left(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  // The lock is held until the folder is gone: one that was just made gets its own, sees that it is gone, and is made
  // anew.
  std::error_code ignored;
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) fs::remove_all(folder, ignored);
  ::close(fd);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  ::close(fd_);
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw RunError(folder.string() + ": cannot be made: " + error.message());
}

std::string host_name() {
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  return host;
}

fs::path final_folder(const fs::path& out) {
  fs::path folder = fs::weakly_canonical(fs::absolute(out));
  if (!folder.has_filename()) folder = folder.parent_path();
  return folder;
}

}  // namespace scalevec::experiments
