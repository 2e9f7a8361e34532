#include "optim/config/checksum.hpp"

#include <random>

#include "experiments/system/file_io.hpp"
#include "tests/data/data_support.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;

TEST_CASE("Checksums are XXH3-64") {
  // What `xxhsum -H3` prints of these texts.
  CHECK(checksum("") == "2d06800538d394c2");
  CHECK(checksum("a") == "e6c632b61e964e1f");
  CHECK(checksum("abc") == "78af5f94892f3950");
  Checksum pieces;
  pieces.add("a");
  pieces.add("");
  pieces.add("bc");
  CHECK(pieces.text() == "78af5f94892f3950");
}

TEST_CASE("A record comes back without its checksum") {
  for (const json& value : {json::object(), json{{"a", 1}}, json{{"z", {{"checksum", "xxh3:0"}}}, {"a", "\"}"}}})
    for (const int indent : {-1, 0, 2}) {
      const std::string text = with_checksum(value.dump(indent) + "\n");
      CAPTURE(text);
      CHECK(check_own_checksum(text) == ChecksumState::right);
      bool absent = true;
      CHECK(parse_record(text, "file", &absent) == value);
      CHECK_FALSE(absent);
      CHECK(parse_record(value.dump(indent), "file", &absent) == value);
      CHECK(absent);
    }
}

TEST_CASE("Every flipped bit of a record is seen") {
  const std::string text = with_checksum(json{{"status", "done"}, {"val_loss", 1.25}, {"n", {1, 2, 3}}}.dump(2) + "\n");
  REQUIRE_NOTHROW(parse_record(text, "file"));
  for (std::size_t bit = 0; bit < 8 * text.size(); ++bit) {
    std::string hit = text;
    hit[bit / 8] = static_cast<char>(hit[bit / 8] ^ (1 << (bit % 8)));
    CAPTURE(hit);
    REQUIRE_THROWS_AS(parse_record(hit, "file"), DamagedFile);
  }
}

TEST_CASE("A checksum with a damaged name, prefix or place is not a missing one") {
  for (const char* text :
       {R"({"a": 1, "chebksum": "xxh3:0123456789abcdef"})", R"({"a": 1, "checksum": "xxh2:0123456789abcdef"})",
        R"({"a": 1, "checksum":  "xxh3:0123456789abcdef"})", R"({"a": 1, "checksum": "xxh3:0123"})",
        R"({"a": 1, "checksum": null})", R"({"checksum": 1, "a": "xxh3:0123456789abcdef"})"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_record(text, "file"), DamagedFile);
  }
  // What is not a checksum at the record's own level says nothing about the record.
  for (const char* text : {R"({"a": {"checksum": "sha"}})", R"({"a": ["xxh3:0123456789abcdef"]})",
                           R"({"a": "0123456789abcdef"})", R"({"a": "xxh3:0123456789abcdeg"})", R"(["checksum"])"}) {
    CAPTURE(text);
    bool absent = false;
    CHECK(parse_record(text, "file", &absent) == json::parse(text));
    CHECK(absent);
  }
}

TEST_CASE("Every flipped bit, lost and exchanged line of a log is seen") {
  const auto log = [](std::string before, int n) {
    std::vector<std::string> lines;
    for (int i = 1; i <= n; ++i) lines.push_back(chained_line(json{{"loss", 1.0 / i}, {"step", i}}.dump(), before));
    return lines;
  };
  const auto all_right = [](const std::vector<std::string>& lines, std::string before) {
    for (const std::string& line : lines)
      if (check_chained_line(line, before) != ChecksumState::right) return false;
    return true;
  };
  const std::string seed = checksum("seed");
  const std::vector<std::string> lines = log(seed, 6);
  REQUIRE(all_right(lines, seed));
  CHECK(json::parse(lines[1])["loss"] == 0.5);
  CHECK_FALSE(all_right(lines, checksum("another run")));
  for (std::size_t i = 0; i < lines.size(); ++i)
    for (std::size_t bit = 0; bit < 8 * lines[i].size(); ++bit) {
      std::vector<std::string> hit = lines;
      hit[i][bit / 8] = static_cast<char>(hit[i][bit / 8] ^ (1 << (bit % 8)));
      REQUIRE_FALSE(all_right(hit, seed));
      // Nor does any pass for a line of a version without checksums.
      std::string before = i == 0 ? seed : json::parse(lines[i - 1])["checksum"].get<std::string>();
      const ChecksumState state = check_chained_line(hit[i], before);
      REQUIRE((state == ChecksumState::wrong || (state == ChecksumState::absent && !json::accept(hit[i]))));
    }
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    std::vector<std::string> lost = lines, exchanged = lines, twice = lines;
    lost.erase(lost.begin() + static_cast<std::ptrdiff_t>(i));
    std::swap(exchanged[i], exchanged[i + 1]);
    twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(i), lines[i]);
    CHECK_FALSE(all_right(lost, seed));
    CHECK_FALSE(all_right(exchanged, seed));
    CHECK_FALSE(all_right(twice, seed));
  }
  std::string before = seed;
  const std::string empty = chained_line("{}", before);
  before = seed;
  CHECK(check_chained_line(empty, before) == ChecksumState::right);
  before = seed;
  CHECK(check_chained_line(R"({"step":1})", before) == ChecksumState::absent);
  CHECK(before == seed);
}
