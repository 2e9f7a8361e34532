#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace scalevec::experiments {

// A regular file, mapped read-only for the lifetime of the object. Movable.
class MappedFile {
 public:
  // Throws UsageError with the name of the file if it is missing, unreadable or not a regular file (a folder, a pipe, a
  // device).
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

  // Whether `file`, the path that it was opened by, has been written to since, or since the last call of renew(). False
  // if another file or none is there now: what is mapped stays.
  bool written_to(const std::filesystem::path& file) const;
  void renew(const std::filesystem::path& file);

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
  struct stat opened_ {};
};

// From here on, a page of a mapped file that cannot be read (the file was cut, or its disk failed) ends the program
// with one line that names the file and the byte, and status 1, in place of the signal SIGBUS.
void say_when_mapped_files_fail();

}  // namespace scalevec::experiments
