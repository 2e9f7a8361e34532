#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace scalevec::experiments {

// Writes `text` to a temporary file in the same folder, syncs it and renames it to `file`. Of several processes that
// write the same file at once, each writes it whole, one after the other. Throws RunError with the name of the file and
// the system's reason.
void write_file(const std::filesystem::path& file, std::string_view text);

// write_file() of a JSON object's text with a checksum as last member (optim/config/checksum.hpp).
void write_record(const std::filesystem::path& file, std::string_view json_text);

// What write_record() wrote, parsed and without its checksum. One without a checksum is taken, and said to be so.
// Throws DamagedFile, which names the file.
nlohmann::json checked_record(std::string_view text, const std::filesystem::path& file);

// Says once in a process, on stderr, that a file of an older version has no checksum and is read unchecked.
void note_without_checksum(const std::filesystem::path& file);

// Whether `file` names what `fd` has open: it may have been renamed or replaced since.
bool is_still(int fd, const std::filesystem::path& file);

// Makes a rename inside `folder` durable. RunError on failure.
void sync_folder(const std::filesystem::path& folder);

}  // namespace scalevec::experiments
