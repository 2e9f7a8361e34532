#pragma once

#include <filesystem>

namespace scalevec {

// A hidden folder beside `target` to write into, which commit() renames to it; removed unless committed, so that the
// target is whole or absent. What a killed call left there is cleared; a lock keeps two live calls apart.
class StagingFolder {
 public:
  // `target`: absolute, without a trailing slash (see final_folder()). RunError if the folder cannot be made,
  // UsageError if another program is writing the same target.
  explicit StagingFolder(const std::filesystem::path& target);
  ~StagingFolder();
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // Syncs the folder and renames it. The system replaces an empty folder at the target and refuses a full one:
  // RunError.
  void commit();

 private:
  std::filesystem::path target_, path_;
  int fd_ = -1;
  bool committed_ = false;
};

// The absolute path without a trailing slash.
std::filesystem::path final_folder(const std::filesystem::path& out);

}  // namespace scalevec
