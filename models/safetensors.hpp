#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace scalevec {

// Tensors with their names, in order.
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

// Writes a safetensors file (8-byte little-endian header length, JSON header, data) and syncs it to disk. Tensors are
// written contiguous, in order, from whatever device they are on. Returns the file's checksum, which its header has
// under
// __metadata__.checksum: "xxh3:" and the XXH3-64 of the file with these 16 digits as zeros. Throws std::runtime_error
// naming the file, or std::invalid_argument for a dtype that the format does not have.
std::string write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors);

// Reads every tensor, on the CPU, in the order of their data. The file is untrusted: header length, JSON, dtypes,
// shapes, offsets, overlaps and gaps are checked, the checksum where there is one, and std::runtime_error names the
// file and the first thing wrong. `expected`, if not empty: the checksum that write_safetensors() returned for this
// file; a file with another one or none is refused.
NamedTensors read_safetensors(const std::filesystem::path& file, std::string_view expected = {});

// Reads folder/model.safetensors or, if there is none, every file that folder/model.safetensors.index.json lists
// (Hugging Face's layout of large models). The index is not trusted either: the files must lie in the folder itself,
// and each must contain exactly the tensors that the index lists for it. Throws std::runtime_error with the file and
// the first error.
NamedTensors read_safetensors_folder(const std::filesystem::path& folder);

}  // namespace scalevec
