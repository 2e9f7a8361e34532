#include "experiments/system/staging_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

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
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
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

fs::path final_folder(const fs::path& out) {
  fs::path folder = fs::weakly_canonical(fs::absolute(out));
  if (!folder.has_filename()) folder = folder.parent_path();
  return folder;
}

}  // namespace scalevec::experiments
