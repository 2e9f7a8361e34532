#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace scalevec {

// Tensors with their names, in order.
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

// Writes a safetensors file (8-byte little-endian header length, JSON header, data) and syncs it to disk. Tensors are
// written contiguous, in order, from whatever device they are on. Throws std::runtime_error naming the file, or
// std::invalid_argument for a dtype that the format does not have.
void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors);

// Reads every tensor, on the CPU, in the order of their data. The file is untrusted: header length, JSON, dtypes,
// shapes, offsets, overlaps and gaps are checked, and std::runtime_error names the file and the first thing wrong.
NamedTensors read_safetensors(const std::filesystem::path& file);

// Reads folder/model.safetensors or, if there is none, every file that folder/model.safetensors.index.json lists
// (Hugging Face's layout of large models). The index is not trusted either: the files must lie in the folder itself,
// and each must contain exactly the tensors that the index lists for it. Throws std::runtime_error with the file and
// the first error.
NamedTensors read_safetensors_folder(const std::filesystem::path& folder);

}  // namespace scalevec
