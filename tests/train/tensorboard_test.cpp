#include "experiments/record/tensorboard.hpp"

#include <cmath>
#include <numeric>

#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

TEST_CASE("CRC-32C of the vectors of RFC 3720, B.4") {
  std::string ascending(32, '\0'), descending(32, '\0');
  std::iota(ascending.begin(), ascending.end(), '\0');
  std::iota(descending.rbegin(), descending.rend(), '\0');
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAu);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62A8AB43u);
  CHECK(crc32c(ascending) == 0x46DD794Eu);
  CHECK(crc32c(descending) == 0x113FDB5Cu);
  CHECK(crc32c("123456789") == 0xE3069283u);
  CHECK(crc32c("") == 0u);
}

TEST_CASE("messages are the bytes that the schema gives by hand") {
  // Event{wall_time: 1.0 (field 1), file_version: "brain.Event:2" (3)}
  CHECK(version_event(1.0) == std::string("\x09\0\0\0\0\0\0\xf0\x3f\x1a\x0d", 11) + "brain.Event:2");
  // Event{wall_time: 0, step: 300 (2), session_log (7): {status: START (1) = 1}}
  CHECK(restart_event(0.0, 300) == std::string("\x09\0\0\0\0\0\0\0\0\x10\xac\x02\x3a\x02\x08\x01", 16));
  // Event{wall_time, step: 1, summary (5): {value (1): {simple_value (2): 2.0f, tag (1): "a"}}}; what is not finite is
  // left out
  const Scalar scalars[] = {{"a", 2.0}, {"b", NAN}, {"c", INFINITY}};
  CHECK(summary_event(0.0, 1, scalars) ==
        std::string("\x09\0\0\0\0\0\0\0\0\x10\x01\x2a\x0a\x0a\x08\x15\0\0\0\x40\x0a\x01\x61", 23));
}
