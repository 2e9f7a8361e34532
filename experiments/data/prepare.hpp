#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/data/manifest.hpp"

namespace scalevec::experiments {

struct PrepareOptions {
  std::vector<std::filesystem::path> texts;  // at least one, no two with the same content
  std::filesystem::path out;                 // does not exist, is empty, or was written by the same call before
  std::string tokenizer = "bytes";           // or "sentencepiece:MODEL", or a folder, see make_tokenizer()
  double val_fraction = 0.05;                // in (0, 0.5]; every k-th block is validation, k = round(1/val_fraction)
  std::int64_t block_bytes = 4096;           // bytes of text, in [1, 2³⁰]; see text_block_ends()
  std::int64_t shard_tokens = 100'000'000;   // largest number of tokens in one file, in [1, 2³¹ − 1]
};

struct PrepareResult {
  DataManifest manifest;
  bool written = false;            // false: the folder was up to date
  std::vector<std::string> notes;  // on texts that the tokenizer does not give back as they are
};

// Tokenizes texts into OUT/train_*.bin, OUT/val_*.bin and OUT/data.json, in a hidden folder beside OUT that is renamed
// at the end. Each text is cut into blocks, which are numbered through all texts in their order. Blocks k/2, k/2 + k, …
// are validation data and the others training data; each split is in the order of the text. "bytes" keeps every byte.
// Any other tokenizer gets one block at a time, so that no token lies in both splits. A folder that was made from the
// same texts with the same options is checked against its data.json and not changed. Throws UsageError for wrong
// options, for texts that are too short for a block in each split, and if OUT contains anything else; RunError if
// writing fails.
PrepareResult prepare_data(const PrepareOptions& options);

// The ends of the blocks of a text. A block ends after the first line break at or after `block_bytes`, so that no line
// is cut. If the block would then be longer than twice `block_bytes`, it ends before a UTF-8 character instead. The
// last block is the rest.
std::vector<std::size_t> text_block_ends(std::string_view text, std::int64_t block_bytes);

}  // namespace scalevec::experiments
