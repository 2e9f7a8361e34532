#include "optim/config/checksum.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdio>

#include "optim/config/json_reader.hpp"

namespace scalevec {
namespace {

constexpr std::string_view kRecordKey = "\"checksum\": \"xxh3:";
constexpr std::string_view kLineKey = ",\"checksum\":\"";
constexpr std::size_t kDigits = kNoChecksumDigits.size();

std::string digits(XXH64_hash_t hash) {
  char text[kDigits + 1];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

// Where the digits of a record's checksum begin; npos without one.
std::size_t digits_of(std::string_view text) {
  const std::size_t at = text.rfind(kRecordKey);
  if (at == text.npos || at + kRecordKey.size() + kDigits > text.size()) return text.npos;
  return at + kRecordKey.size();
}

bool are_digits(std::string_view text) {
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

[[noreturn]] void damaged(std::string_view what, const std::string& how) {
  throw DamagedFile(std::string(what) + ": " + how);
}

}  // namespace

struct Checksum::State {
  XXH3_state_t hash;
};

Checksum::Checksum() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->hash); }
Checksum::~Checksum() = default;

void Checksum::add(std::string_view bytes) { XXH3_64bits_update(&state_->hash, bytes.data(), bytes.size()); }
std::string Checksum::text() const { return digits(XXH3_64bits_digest(&state_->hash)); }

std::string checksum(std::string_view bytes) { return digits(XXH3_64bits(bytes.data(), bytes.size())); }

std::string with_checksum(std::string_view json_text) {
  const std::size_t end = json_text.find_last_of('}');
  std::size_t last = json_text.find_last_not_of(" \n\t\r", end - 1);
  const bool empty = json_text[last] == '{';
  std::string text(json_text.substr(0, last + 1));
  text += std::string(empty ? "" : ",") + "\n  " + std::string(kRecordKey);
  const std::size_t at = text.size();
  text += std::string(kNoChecksumDigits) + "\"\n}" + std::string(json_text.substr(end + 1));
  return text.replace(at, kDigits, checksum(text));
}

ChecksumState check_own_checksum(std::string_view text) {
  const std::size_t at = digits_of(text);
  if (at == text.npos) return ChecksumState::absent;
  std::string zeroed(text);
  zeroed.replace(at, kDigits, kNoChecksumDigits);
  return checksum(zeroed) == text.substr(at, kDigits) ? ChecksumState::right : ChecksumState::wrong;
}

bool has_checksum_member(const nlohmann::json& object) {
  if (!object.is_object()) return false;
  for (const auto& [name, value] : object.items()) {
    if (name == "checksum") return true;
    if (!value.is_string()) continue;
    const std::string_view text = value.get_ref<const std::string&>();
    if (text.starts_with(kChecksumPrefix) && are_digits(text.substr(kChecksumPrefix.size()))) return true;
  }
  return false;
}

nlohmann::json parse_record(std::string_view text, std::string_view what, bool* absent) {
  const ChecksumState state = check_own_checksum(text);
  nlohmann::json value = parse_json_if_sound(text);
  if (absent) *absent = state == ChecksumState::absent;
  if (state == ChecksumState::wrong || (state == ChecksumState::absent && has_checksum_member(value)))
    damaged(what,
            "its checksum is wrong: it was damaged, or changed after it was written; allowed: the file as it was "
            "written, or, read unchecked, the same without its \"checksum\"");
  if (value.is_discarded()) damaged(what, "is not whole JSON: it was damaged after it was written");
  if (value.is_object()) value.erase("checksum");
  return value;
}

std::string chained_line(std::string_view line, std::string& before) {
  before = checksum(before + std::string(line));
  const std::string_view open = line.substr(0, line.size() - 1);
  const std::string_view key = open == "{" ? kLineKey.substr(1) : kLineKey;
  return std::string(open) + std::string(key) + before + "\"}";
}

ChecksumState check_chained_line(std::string_view line, std::string& before) {
  constexpr std::size_t tail = kDigits + 2;  // digits, quote, brace
  if (line.size() < tail) return ChecksumState::absent;
  const std::string_view found = line.substr(line.size() - tail, kDigits);
  std::string_view open = line.substr(0, line.size() - tail);  // up to the digits
  if (open == "{" + std::string(kLineKey.substr(1)))
    open = "{";
  else if (open.ends_with(kLineKey))
    open.remove_suffix(kLineKey.size());
  else if ((are_digits(found) && line.ends_with("\"}") && open.ends_with('"')) ||
           parse_json_if_sound(line).contains("checksum"))
    return ChecksumState::wrong;
  else
    return ChecksumState::absent;
  before = checksum(before + std::string(open) + "}");
  return before == found && line.ends_with("\"}") ? ChecksumState::right : ChecksumState::wrong;
}

}  // namespace scalevec
