#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <span>

#include "scalevec/experiments/data/file_io.hpp"

// The token shards of llm.c and modded-nanogpt: 256 int32 (magic, version, token count, zeros), then `count` uint16
// token ids, all little-endian.
namespace scalevec {

inline constexpr std::int32_t kTokenFileMagic = 20240520;
inline constexpr std::int32_t kTokenFileVersion = 1;
inline constexpr std::int64_t kTokenFileHeaderBytes = 1024;

struct IdRange {
  int low = 0, high = 0;  // inclusive
};

// A shard, memory-mapped read-only.
class TokenFile {
 public:
  // Throws UsageError with the file, what was found and what is allowed, unless magic, version and the exact size of
  // 1024 + 2·count bytes are right.
  explicit TokenFile(std::filesystem::path file);

  std::span<const std::uint16_t> tokens() const { return tokens_; }
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  const std::filesystem::path& path() const { return path_; }
  std::optional<IdRange> id_range() const;  // reads every token; empty for a shard without tokens

 private:
  std::filesystem::path path_;
  MappedFile map_;
  std::span<const std::uint16_t> tokens_;
};

// Writes tokens to a temporary file beside `file`. finish() completes the header, syncs the file and renames it to
// `file`. Without finish() the temporary file is removed. Throws RunError if writing fails.
class TokenFileWriter {
 public:
  explicit TokenFileWriter(std::filesystem::path file);
  ~TokenFileWriter();
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;

  void append(std::span<const std::uint16_t> tokens);  // throws UsageError beyond 2³¹ − 1 tokens in total
  void finish();
  std::int64_t size() const { return size_; }

 private:
  [[noreturn]] void fail() const;

  std::filesystem::path path_, temporary_;
  std::FILE* out_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace scalevec
