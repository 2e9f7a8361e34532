#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace scalevec {
class Checksum;
}

namespace scalevec::models {

// Tensors with their names, in order.
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

// Writes a safetensors file (8-byte little-endian header length, JSON header, data) and syncs it to disk. Tensors are
// written contiguous, in order, from whatever device they are on. The header's __metadata__ has "format": "pt", without
// which transformers before 4.51 does not load a file, and "checksum": "xxh3:" and the XXH3-64 of the file with these
// 16 digits as zeros. Returns the digits. Throws std::runtime_error naming the file, or std::invalid_argument for a
// dtype that the format does not have.
std::string write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors);

// A tensor as a header states it.
struct SafetensorsEntry {
  std::string name, type;             // "BF16"
  std::optional<torch::Dtype> dtype;  // none: a type that cannot be read here
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // of the data
};

// An open file of which tensors are read one by one. The file is untrusted: header length, JSON, shapes, offsets,
// overlaps and gaps are checked when it is opened, and std::runtime_error names the file and the first thing wrong.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& file);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  // In the order of their data.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  // On the CPU. std::runtime_error naming file, tensor and type for a type that cannot be read. One tensor is not held
  // against the file's checksum.
  torch::Tensor read(const SafetensorsEntry& entry) const { return read(entry, nullptr); }
  // Every tensor, on the CPU, in the order of their data, held against the file's checksum, if it has one, and against
  // `expected`, if not empty: what write_safetensors() returned. std::runtime_error for another checksum or a missing
  // one.
  NamedTensors read_all(std::string_view expected = {}) const;

 private:
  torch::Tensor read(const SafetensorsEntry& entry, Checksum* sum) const;

  std::filesystem::path file_;
  int fd_ = -1;
  std::uint64_t data_ = 0;
  std::string header_, checksum_;  // the bytes before the data, with zeros for the digits; empty without a checksum
  std::vector<SafetensorsEntry> entries_;
};

// folder/model.safetensors or, where there is none, the files that folder/model.safetensors.index.json lists (Hugging
// Face's layout of large models), tensors read one by one. The index is untrusted as well: files lie in the folder
// itself and hold the tensors listed for them; std::runtime_error names the file and the first thing wrong. A tensor
// that the index does not list is passed over, as transformers does, with a note.
class SafetensorsFolder {
 public:
  explicit SafetensorsFolder(const std::filesystem::path& folder);

  const std::vector<std::string>& names() const { return names_; }
  const SafetensorsEntry* find(const std::string& name) const;  // null: there is none
  torch::Tensor read(const std::string& name) const;
  NamedTensors read_all() const;  // a single file with a checksum is held against it
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::pair<std::size_t, std::size_t>> where_;  // file, entry
  std::vector<std::string> names_, notes_;
};

// read_all() of a file.
NamedTensors read_safetensors(const std::filesystem::path& file, std::string_view expected = {});

// Every tensor of a SafetensorsFolder; its notes are appended to `notes`.
NamedTensors read_safetensors_folder(const std::filesystem::path& folder, std::vector<std::string>* notes = nullptr);

}  // namespace scalevec::models
