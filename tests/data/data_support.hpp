#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "experiments/errors.hpp"
#include "tests/support/text.hpp"

// Files written and read without the library's own code, so that the tests do not lean on what they test.
namespace scalevec::test {

using namespace scalevec::experiments;

namespace fs = std::filesystem;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "scalevec-data-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline void write_bytes(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

inline std::string read_bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string little_endian(std::uint32_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>((value >> (8 * i)) & 0xFF);
  return text;
}

// A .bin by the format's description: magic, version, count, zeros up to byte 1024, two bytes a token.
inline std::string token_bytes(const std::vector<int>& tokens, std::uint32_t magic = 20240520,
                               std::uint32_t version = 1) {
  std::string bytes =
      little_endian(magic, 4) + little_endian(version, 4) + little_endian(static_cast<std::uint32_t>(tokens.size()), 4);
  bytes.resize(1024, '\0');
  for (const int t : tokens) bytes += little_endian(static_cast<std::uint32_t>(t), 2);
  return bytes;
}

inline std::vector<int> tokens_of(const fs::path& file) {
  const std::string bytes = read_bytes(file);
  std::vector<int> tokens;
  for (std::size_t i = 1024; i + 1 < bytes.size(); i += 2) {
    tokens.push_back(static_cast<unsigned char>(bytes[i]) + 256 * static_cast<unsigned char>(bytes[i + 1]));
  }
  return tokens;
}

// Tokens `first`, `first` + 1, …
inline std::vector<int> counting(int first, int count) {
  std::vector<int> tokens(count);
  for (int i = 0; i < count; ++i) tokens[i] = first + i;
  return tokens;
}

// The message of the Error that `call` throws; "nothing thrown" or "another exception: …" otherwise.
template <class Error = UsageError, class Call>
std::string message_of(Call&& call) {
  try {
    std::forward<Call>(call)();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another exception: ") + error.what();
  }
  return "nothing thrown";
}

}  // namespace scalevec::test
