#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
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

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Writes `text` to a temporary file in the same folder, syncs it and renames it to `file`. Throws RunError with the
// name of the file and the system's reason.
void write_file(const std::filesystem::path& file, std::string_view text);

// write_file() of a JSON object's text with a checksum as last member (optim/config/checksum.hpp).
void write_record(const std::filesystem::path& file, std::string_view json_text);

// What write_record() wrote, parsed and without its checksum. One without a checksum is taken, and said to be so.
// Throws DamagedFile, which names the file.
nlohmann::json checked_record(std::string_view text, const std::filesystem::path& file);

// Says once in a process, on stderr, that a file of an older version has no checksum and is read unchecked.
void note_without_checksum(const std::filesystem::path& file);

// Makes a rename inside `folder` durable. RunError on failure.
void sync_folder(const std::filesystem::path& folder);

}  // namespace scalevec::experiments
