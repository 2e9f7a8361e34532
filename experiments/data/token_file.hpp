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
  // UsageError naming the file, what was found and what is allowed, unless magic, version and the exact size
  // 1024 + 2·count are right.
  explicit TokenFile(std::filesystem::path file);

  std::span<const std::uint16_t> tokens() const { return tokens_; }
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  const std::filesystem::path& path() const { return path_; }
  std::optional<IdRange> id_range() const;  // reads every token; empty for a shard without any

 private:
  std::filesystem::path path_;
  MappedFile map_;
  std::span<const std::uint16_t> tokens_;
};

// Streams tokens into a file beside `file`; finish() completes the header, syncs and renames it. Without finish()
// nothing is left. RunError when the disk refuses.
class TokenFileWriter {
 public:
  explicit TokenFileWriter(std::filesystem::path file);
  ~TokenFileWriter();
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;

  void append(std::span<const std::uint16_t> tokens);  // UsageError past 2³¹ − 1 tokens in all
  void finish();
  std::int64_t size() const { return size_; }

 private:
  [[noreturn]] void fail() const;

  std::filesystem::path path_, temporary_;
  std::FILE* out_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace scalevec
