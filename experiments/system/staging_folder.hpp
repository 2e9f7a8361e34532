#pragma once

#include <filesystem>
#include <string>

namespace scalevec::experiments {

// A hidden folder beside `target` to write into. commit() renames it to `target`; without commit() it is removed.
// `target` is therefore complete or absent. What a killed process left is removed, and a lock keeps two running
// processes apart.
class StagingFolder {
 public:
  // `target` is absolute and has no trailing slash (see final_folder()). Throws RunError if the folder cannot be
  // created, and UsageError if another program writes the same target.
  explicit StagingFolder(const std::filesystem::path& target);
  ~StagingFolder();
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // Syncs the folder and renames it. An empty folder at the target is replaced. Throws RunError if the folder at the
  // target is not empty.
  void commit();

 private:
  std::filesystem::path target_, path_;
  int fd_ = -1;
  bool committed_ = false;
};

// A folder that is removed with what is left in it.
class TemporaryFolder {
 public:
  // Made from a path that ends in XXXXXX, which become letters that no other has. Throws RunError.
  explicit TemporaryFolder(const std::filesystem::path& pattern);
  // Removes the folder if it was left by a program that was killed: the one that works in it holds a lock.
  static void remove_if_left(const std::filesystem::path& folder);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

// Throws RunError if the folder is not there and cannot be made.
void make_folder(const std::filesystem::path& folder);

// The machine's name, for names of folders and files; "host" if it has none.
std::string host_name();

// The absolute path of `out` without a trailing slash.
std::filesystem::path final_folder(const std::filesystem::path& out);

}  // namespace scalevec::experiments
