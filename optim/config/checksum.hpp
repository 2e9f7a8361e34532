#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

// Checksums of the files that the program writes and reads back: XXH3-64 as 16 hexadecimal digits. They find damage
// (a flipped bit, a lost page, a file of another run), not an attacker. docs/reliability.md says which file has which.
// Not installed.
namespace scalevec {

// A file whose bytes are not the ones that were written. One line that begins with the file's name.
struct DamagedFile : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The checksum of bytes that come in pieces.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  void add(std::string_view bytes);
  std::string text() const;  // of what was added so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string checksum(std::string_view bytes);

// A checksum inside of what it covers: KEY followed by "xxh3:" and 16 digits. It is taken with the digits as zeros.
inline constexpr std::string_view kChecksumPrefix = "xxh3:";
inline constexpr std::string_view kNoChecksumDigits = "0000000000000000";

// `json_text`, an object, with a last member "checksum" over all of the text that is returned.
std::string with_checksum(std::string_view json_text);

enum class ChecksumState { right, wrong, absent };
ChecksumState check_own_checksum(std::string_view json_text);

// Whether a member of `object` is named "checksum" or is text of kChecksumPrefix and 16 digits. After damage to one of
// the two, the other still tells that there was a checksum.
bool has_checksum_member(const nlohmann::json& object);

// What with_checksum() made: parsed, without that member. DamagedFile led by `what` if it is not JSON or its checksum
// is wrong or damaged itself. An object without has_checksum_member() is of version 0.1: it is taken, and `absent` set.
nlohmann::json parse_record(std::string_view text, std::string_view what, bool* absent = nullptr);

// A line of a log with its running checksum as last member: over `before`, the checksum of the line before, and the
// line without it. `line` is an object's text. Sets `before` to the line's own.
std::string chained_line(std::string_view line, std::string& before);

// Checks a line against `before` and moves `before` on. A line without a checksum leaves it alone; one that has a
// member "checksum" elsewhere, or another name before its last 16 digits, is wrong.
ChecksumState check_chained_line(std::string_view line, std::string& before);

}  // namespace scalevec
