#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "experiments/system/mapped_file.hpp"

// The token shards of llm.c and modded-nanogpt: 256 int32 (magic, version, token count, zeros), then `count` token ids,
// all little-endian: uint16 under GPT-2's magic and version, uint32 under Llama 3's.
namespace scalevec::experiments {

inline constexpr std::int32_t kTokenFileMagic = 20240520;
inline constexpr std::int32_t kTokenFileVersion = 1;
inline constexpr std::int32_t kWideTokenFileMagic = 20240801;
inline constexpr std::int32_t kWideTokenFileVersion = 7;
inline constexpr std::int64_t kTokenFileHeaderBytes = 1024;
// Vocabularies up to this are written with 16 bits an id, others with 32.
inline constexpr std::int64_t kNarrowVocabulary = 65536;

struct IdRange {
  std::int64_t low = 0, high = 0;  // inclusive
};

// A shard, memory-mapped read-only.
class TokenFile {
 public:
  // Throws UsageError with the file, what was found and what is allowed, unless magic, version and the exact size of
  // 1024 + 2·count or 1024 + 4·count bytes are right.
  explicit TokenFile(std::filesystem::path file);

  std::uint32_t operator[](std::int64_t i) const {
    const auto at = static_cast<std::size_t>(i);
    return wide_.empty() ? narrow_[at] : wide_[at];
  }
  std::int64_t size() const { return static_cast<std::int64_t>(narrow_.size() + wide_.size()); }
  // Ids [first, first + count) at `out`.
  void copy(std::int64_t first, std::int64_t count, std::int64_t* out) const;
  const std::filesystem::path& path() const { return path_; }
  std::string_view bytes() const { return map_.bytes(); }  // of the whole file
  bool written_to() const { return map_.written_to(path_); }
  void renew() { map_.renew(path_); }
  std::optional<IdRange> id_range() const;  // reads every token; empty for a shard without tokens

 private:
  std::filesystem::path path_;
  MappedFile map_;
  std::span<const std::uint16_t> narrow_;  // one of these is empty
  std::span<const std::uint32_t> wide_;
};

// Writes tokens to a temporary file beside `file`. finish() completes the header, syncs the file and renames it to
// `file`. Without finish() the temporary file is removed. Throws RunError if writing fails.
class TokenFileWriter {
 public:
  // `wide`: 32 bits an id, else 16.
  explicit TokenFileWriter(std::filesystem::path file, bool wide = false);
  ~TokenFileWriter();
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;

  // Throws UsageError beyond 2³¹ − 1 tokens in total, std::invalid_argument for an id that the width does not hold.
  void append(std::span<const std::uint32_t> tokens);
  void finish();
  std::int64_t size() const { return size_; }

 private:
  [[noreturn]] void fail() const;

  std::filesystem::path path_, temporary_;
  std::FILE* out_ = nullptr;
  std::int64_t size_ = 0;
  bool wide_ = false;
};

}  // namespace scalevec::experiments
