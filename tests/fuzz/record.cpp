#include "optim/config/checksum.hpp"
#include "optim/config/json_reader.hpp"
#include "tests/fuzz/targets.hpp"

// A record and a log with checksums. Any bytes are read or refused; what is JSON comes back through its checksum, and
// is refused when one bit of it is flipped (the first two bytes say which).
void scalevec::fuzz::record(std::string_view bytes) {
  if (bytes.size() < 2) return;
  const std::size_t place = static_cast<unsigned char>(bytes[0]) + 256 * static_cast<unsigned char>(bytes[1]);
  bytes.remove_prefix(2);
  try {
    parse_record(bytes, "record");
  } catch (const DamagedFile&) {
  }
  std::string before = checksum(bytes);
  check_chained_line(bytes, before);

  const nlohmann::json value = parse_json_if_sound(bytes);
  if (!value.is_object() || has_checksum_member(value)) return;
  const std::string text = with_checksum(bytes);
  require(parse_record(text, "record") == value, "a record comes back through its checksum");
  std::string hit = text;
  hit[(place / 8) % hit.size()] = static_cast<char>(hit[(place / 8) % hit.size()] ^ (1 << (place % 8)));
  bool refused = false;
  try {
    parse_record(hit, "record");
  } catch (const DamagedFile&) {
    refused = true;
  }
  require(refused, "a flipped bit is refused");

  const std::string line = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string chain = "seed";
  const std::string chained = chained_line(line, chain);
  std::string check = "seed";
  require(check_chained_line(chained, check) == ChecksumState::right && check == chain,
          "a line of a log comes back through its checksum");
  std::string hit_line = chained;
  hit_line[(place / 8) % hit_line.size()] =
      static_cast<char>(hit_line[(place / 8) % hit_line.size()] ^ (1 << (place % 8)));
  check = "seed";
  const ChecksumState state = check_chained_line(hit_line, check);
  require(
      state == ChecksumState::wrong || (state == ChecksumState::absent && !parse_json_if_sound(hit_line).is_object()),
      "a flipped bit of a line is not read");
}
