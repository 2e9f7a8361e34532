#include "optim/config/checksum.hpp"
#include "optim/config/json_reader.hpp"
#include "tests/fuzz/targets.hpp"

// A record and a log with checksums. Any bytes are read or refused; what is JSON comes back through its checksum, and
// one bit of it that is flipped (the first two bytes say which) never reads as another value.
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
  if (!value.is_object() || value.contains("checksum")) return;
  const std::string text = with_checksum(bytes);
  require(parse_record(text, "record") == value, "a record comes back through its checksum");
  std::string hit = text;
  hit[(place / 8) % hit.size()] = static_cast<char>(hit[(place / 8) % hit.size()] ^ (1 << (place % 8)));
  try {
    nlohmann::json found = parse_record(hit, "record");
    for (const auto& [key, v] : value.items())
      require(found.contains(key) && found[key] == v, "a flipped bit does not read as another value");
  } catch (const DamagedFile&) {
  }

  const std::string line = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string chain = "seed";
  const std::string chained = chained_line(line, chain);
  std::string check = "seed";
  require(check_chained_line(chained, check) == ChecksumState::right && check == chain,
          "a line of a log comes back through its checksum");
}
