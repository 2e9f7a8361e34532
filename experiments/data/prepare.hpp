#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "scalevec/experiments/data/manifest.hpp"

namespace scalevec {

struct PrepareOptions {
  std::vector<std::filesystem::path> texts;  // at least one, no two with the same content
  std::filesystem::path out;                 // absent, an empty folder, or what the same call wrote before
  std::string tokenizer = "bytes";           // "sentencepiece:MODEL" or a folder, see make_tokenizer()
  double val_fraction = 0.05;                // in (0, 0.5]; every k-th block is validation, k = round(1/val_fraction)
  std::int64_t block_bytes = 4096;           // of text, in [1, 2³⁰]; see text_block_ends()
  std::int64_t shard_tokens = 100'000'000;   // most tokens of one file, in [1, 2³¹ − 1]
};

struct PrepareResult {
  DataManifest manifest;
  bool written = false;  // false: the folder was up to date
};

// Tokenizes texts into OUT/train_*.bin, OUT/val_*.bin and OUT/data.json, in a hidden folder beside OUT that is renamed
// at the end. Each source is cut into blocks, numbered through all sources in their order; blocks k/2, k/2 + k, … are
// validation and the others training, each split in the order of the text. "bytes" adds and loses none; another
// tokenizer sees one block at a time, so that no token straddles the splits. A folder made of the same sources with the
// same options is checked against its data.json and left alone. UsageError on bad options, on texts too short for a
// block in each split, and if OUT holds anything else; RunError if the disk refuses.
PrepareResult prepare_data(const PrepareOptions& options);

// Where the blocks of a text end. A block ends behind the first line break at or after `block_bytes`, so that it tears
// no line; where a line is so long that the block would pass twice that length, in front of a UTF-8 character. The last
// block is what is left.
std::vector<std::size_t> text_block_ends(std::string_view text, std::int64_t block_bytes);

}  // namespace scalevec
