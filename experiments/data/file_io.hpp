#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace scalevec {

// A regular file mapped read-only for the object's life. Movable.
class MappedFile {
 public:
  // UsageError naming the file if it is missing, unreadable, a directory or no regular file (a pipe, a device).
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Writes `text` beside its final place, syncs it and renames it. RunError naming the file and the system's reason.
void write_file(const std::filesystem::path& file, std::string_view text);

// write_file() of a JSON object's text with a checksum as last member (optim/config/checksum.hpp).
void write_record(const std::filesystem::path& file, std::string_view json_text);

// Says once in a process, on stderr, that a file of an older version has no checksum and is read unchecked.
void note_without_checksum(const std::filesystem::path& file);

// Makes a rename inside `folder` durable. RunError on failure.
void sync_folder(const std::filesystem::path& folder);

}  // namespace scalevec
