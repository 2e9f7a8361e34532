#include "experiments/data/token_file.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "experiments/errors.hpp"

namespace scalevec::experiments {

static_assert(std::endian::native == std::endian::little, "token files are mapped as they are: little-endian only");

namespace {

using Header = std::array<std::int32_t, 256>;
static_assert(sizeof(Header) == kTokenFileHeaderBytes);

}  // namespace

TokenFile::TokenFile(std::filesystem::path file) : path_(std::move(file)), map_(path_) {
  const auto bytes = map_.bytes();
  const auto fail = [this](const std::string& reason) { throw UsageError(path_.string() + ": " + reason); };
  if (bytes.size() < sizeof(Header)) {
    fail("not a token file: " + std::to_string(bytes.size()) + " bytes, but the header alone has 1024");
  }
  Header header;
  std::memcpy(header.data(), bytes.data(), sizeof(Header));
  const bool wide = header[0] == kWideTokenFileMagic;
  if (!wide && header[0] != kTokenFileMagic) {
    fail("not a token file: magic number " + std::to_string(header[0]) +
         "; allowed: 20240520 (llm.c, uint16 tokens), 20240801 (uint32 tokens)");
  }
  const std::int32_t version = wide ? kWideTokenFileVersion : kTokenFileVersion;
  if (header[1] != version) {
    fail("token file version " + std::to_string(header[1]) + "; allowed: " + std::to_string(version) +
         (wide ? " (uint32 tokens)" : " (uint16 tokens)"));
  }
  if (header[2] < 0) fail("token count " + std::to_string(header[2]) + " in the header; allowed: at least 0");
  const auto count = static_cast<std::size_t>(header[2]);
  const std::size_t expected = sizeof(Header) + (wide ? sizeof(std::uint32_t) : sizeof(std::uint16_t)) * count;
  if (bytes.size() != expected) {
    fail(std::string(bytes.size() < expected ? "truncated: " : "has trailing bytes: ") + std::to_string(bytes.size()) +
         " bytes; allowed: " + std::to_string(expected) + " for the " + std::to_string(count) +
         " tokens of its header");
  }
  // A mapping is page-aligned and the header a multiple of 4, so the tokens are aligned.
  const char* data = bytes.data() + sizeof(Header);
  if (wide)
    wide_ = {reinterpret_cast<const std::uint32_t*>(data), count};
  else
    narrow_ = {reinterpret_cast<const std::uint16_t*>(data), count};
}

void TokenFile::copy(std::int64_t first, std::int64_t count, std::int64_t* out) const {
  const auto at = static_cast<std::size_t>(first), n = static_cast<std::size_t>(count);
  if (wide_.empty())
    std::copy_n(narrow_.begin() + static_cast<std::ptrdiff_t>(at), n, out);
  else
    std::copy_n(wide_.begin() + static_cast<std::ptrdiff_t>(at), n, out);
}

std::optional<IdRange> TokenFile::id_range() const {
  const auto range = [](auto tokens) {
    const auto [low, high] = std::minmax_element(tokens.begin(), tokens.end());
    return IdRange{*low, *high};
  };
  if (size() == 0) return std::nullopt;
  return wide_.empty() ? range(narrow_) : range(wide_);
}

TokenFileWriter::TokenFileWriter(std::filesystem::path file, bool wide)
    : path_(std::move(file)),
      temporary_(path_.string() + ".tmp"),
      out_(std::fopen(temporary_.c_str(), "wb")),
      wide_(wide) {
  if (out_ == nullptr) fail();
  const Header header{};
  try {
    if (std::fwrite(header.data(), sizeof(Header), 1, out_) != 1) fail();
  } catch (...) {
    std::fclose(out_);
    ::unlink(temporary_.c_str());
    throw;
  }
}

TokenFileWriter::~TokenFileWriter() {
  if (out_ == nullptr) return;
  std::fclose(out_);
  ::unlink(temporary_.c_str());
}

void TokenFileWriter::append(std::span<const std::uint32_t> tokens) {
  if (size_ + static_cast<std::int64_t>(tokens.size()) > std::numeric_limits<std::int32_t>::max()) {
    throw UsageError(path_.string() + ": a token file holds at most 2147483647 tokens");
  }
  std::size_t written = 0;
  if (wide_) {
    written = std::fwrite(tokens.data(), sizeof(std::uint32_t), tokens.size(), out_);
  } else {
    std::vector<std::uint16_t> narrow;
    narrow.reserve(tokens.size());
    for (const std::uint32_t t : tokens) {
      if (t >= kNarrowVocabulary)
        throw std::invalid_argument(path_.string() + ": token id " + std::to_string(t) + " does not fit in 16 bits");
      narrow.push_back(static_cast<std::uint16_t>(t));
    }
    written = std::fwrite(narrow.data(), sizeof(std::uint16_t), narrow.size(), out_);
  }
  if (written != tokens.size()) fail();
  size_ += static_cast<std::int64_t>(tokens.size());
}

void TokenFileWriter::finish() {
  const std::int32_t start[3] = {wide_ ? kWideTokenFileMagic : kTokenFileMagic,
                                 wide_ ? kWideTokenFileVersion : kTokenFileVersion, static_cast<std::int32_t>(size_)};
  if (std::fseek(out_, 0, SEEK_SET) != 0 || std::fwrite(start, sizeof(start), 1, out_) != 1 || std::fflush(out_) != 0 ||
      ::fsync(::fileno(out_)) != 0) {
    fail();
  }
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail();
  std::fclose(std::exchange(out_, nullptr));
}

void TokenFileWriter::fail() const { throw RunError(path_.string() + ": cannot write: " + std::strerror(errno)); }

}  // namespace scalevec::experiments
