#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace scalevec {

// Tensors with their names, in order.
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

// Writes a safetensors file (8-byte little-endian length of the header, JSON header, data) and syncs it to disk.
// Tensors may be on any device; they are written contiguous and in order. Throws std::runtime_error with the name of
// the file, and std::invalid_argument for a name that is given twice or a dtype that the format does not have.
void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors);

// Reads all tensors of a file to the CPU, in the order of their data. The file is not trusted: length of the header,
// JSON, dtypes, shapes, offsets, overlaps and gaps are checked. Throws std::runtime_error with the file and the first
// error.
NamedTensors read_safetensors(const std::filesystem::path& file);

// Reads folder/model.safetensors or, if there is none, every file that folder/model.safetensors.index.json lists
// (Hugging Face's layout of large models). The index is not trusted either: the files must lie in the folder itself,
// and each must contain exactly the tensors that the index lists for it. Throws std::runtime_error with the file and
// the first error.
NamedTensors read_safetensors_folder(const std::filesystem::path& folder);

}  // namespace scalevec
