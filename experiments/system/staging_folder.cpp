#include "experiments/system/staging_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
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

TemporaryFolder::TemporaryFolder(const fs::path& pattern) {
  std::string path = pattern.string();
  if (!mkdtemp(path.data())) throw RunError(path + ": cannot be made: " + std::strerror(errno));
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
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
