#include "experiments/data/token_file.hpp"

#include <sys/stat.h>

#include "tests/data/data_support.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using namespace scalevec::test;

TEST_CASE("A token file made by hand is read as it is") {
  const TemporaryFolder folder;
  write_bytes(folder / "a.bin", token_bytes({0, 258, 65535, 7}));
  const TokenFile file(folder / "a.bin");
  REQUIRE(file.size() == 4);
  CHECK(file[0] == 0);
  CHECK(file[1] == 258);
  CHECK(file[2] == 65535);
  CHECK(file[3] == 7);
  REQUIRE(file.id_range().has_value());
  CHECK(file.id_range()->low == 0);
  CHECK(file.id_range()->high == 65535);
}

TEST_CASE("A token file with 32 bits an id, as llm.c has it for Llama 3, is read and written byte by byte") {
  const TemporaryFolder folder;
  std::string bytes = little_endian(20240801, 4) + little_endian(7, 4) + little_endian(3, 4);
  bytes.resize(1024, '\0');
  bytes += little_endian(128255, 4) + little_endian(0, 4) + little_endian(2147483647, 4);
  write_bytes(folder / "wide.bin", bytes);
  const TokenFile file(folder / "wide.bin");
  REQUIRE(file.size() == 3);
  CHECK(file[0] == 128255);
  CHECK(file[2] == 2147483647);
  std::int64_t copied[2];
  file.copy(1, 2, copied);
  CHECK(copied[0] == 0);
  CHECK(copied[1] == 2147483647);
  CHECK(file.id_range()->high == 2147483647);
  TokenFileWriter writer(folder / "w.bin", true);
  writer.append(std::vector<std::uint32_t>{128255, 0});
  writer.append(std::vector<std::uint32_t>{2147483647});
  writer.finish();
  CHECK(read_bytes(folder / "w.bin") == bytes);

  write_bytes(folder / "version.bin", std::string(bytes).replace(4, 1, "\1"));
  CHECK(contains(message_of([&] { TokenFile bad(folder / "version.bin"); }), "version 1; allowed: 7"));
  write_bytes(folder / "cut.bin", bytes.substr(0, bytes.size() - 4));
  CHECK(contains(message_of([&] { TokenFile bad(folder / "cut.bin"); }), "truncated: 1032 bytes; allowed: 1036"));
  TokenFileWriter narrow(folder / "narrow.bin");
  CHECK_THROWS_AS(narrow.append(std::vector<std::uint32_t>{65536}), std::invalid_argument);
}

TEST_CASE("A token file may hold no tokens") {
  const TemporaryFolder folder;
  write_bytes(folder / "none.bin", token_bytes({}));
  const TokenFile file(folder / "none.bin");
  CHECK(file.size() == 0);
  CHECK(!file.id_range().has_value());
}

TEST_CASE("Damaged and foreign files are refused by name, with what was found") {
  const TemporaryFolder folder;
  const std::string good = token_bytes(counting(10, 5));
  std::string negative = good;
  negative.replace(8, 4, little_endian(0xFFFFFFFF, 4));
  const struct {
    const char* name;
    std::string bytes, reason;
  } cases[] = {
      {"empty.bin", "", "not a token file: 0 bytes, but the header alone has 1024"},
      {"short.bin", good.substr(0, 1023), "1023 bytes, but the header alone has 1024"},
      {"cut.bin", good.substr(0, good.size() - 1), "truncated: 1033 bytes; allowed: 1034 for the 5 tokens"},
      {"header.bin", good.substr(0, 1024), "truncated: 1024 bytes; allowed: 1034 for the 5 tokens"},
      {"trailing.bin", good + "xy", "has trailing bytes: 1036 bytes; allowed: 1034 for the 5 tokens"},
      {"magic.bin", token_bytes({1, 2}, 20240521), "magic number 20240521; allowed: 20240520"},
      {"text.bin", std::string(2000, 'A'), "magic number 1094795585; allowed: 20240520"},
      {"llama3.bin", token_bytes({1, 2}, 20240520, 7), "version 7; allowed: 1"},
      {"negative.bin", negative, "token count -1"},
  };
  for (const auto& c : cases) {
    write_bytes(folder / c.name, c.bytes);
    const std::string message = message_of([&] { TokenFile file(folder / c.name); });
    INFO(message);
    CHECK(message.rfind((folder / c.name).string() + ": ", 0) == 0);
    CHECK(contains(message, c.reason));
    CHECK(!contains(message, "\n"));
  }
}

TEST_CASE("What is no file is refused") {
  const TemporaryFolder folder;
  CHECK(contains(message_of([&] { TokenFile file(folder / "absent.bin"); }), "absent.bin: cannot open: No such file"));
  CHECK(contains(message_of([&] { TokenFile file(folder.path()); }), "is a directory"));
  REQUIRE(::mkfifo((folder / "pipe.bin").c_str(), 0600) == 0);
  CHECK(contains(message_of([&] { TokenFile file(folder / "pipe.bin"); }), "pipe.bin: is not a regular file"));
}

TEST_CASE("An unreadable file is refused") {
  if (::geteuid() == 0) return;  // root reads everything
  const TemporaryFolder folder;
  write_bytes(folder / "secret.bin", token_bytes({1}));
  fs::permissions(folder / "secret.bin", fs::perms::none);
  CHECK(contains(message_of([&] { TokenFile file(folder / "secret.bin"); }), "cannot open: Permission denied"));
}

TEST_CASE("The writer makes the format byte by byte") {
  const TemporaryFolder folder;
  TokenFileWriter writer(folder / "w.bin");
  writer.append(std::vector<std::uint32_t>{1, 2, 300});
  writer.append(std::vector<std::uint32_t>{65535});
  CHECK(!fs::exists(folder / "w.bin"));
  writer.finish();
  CHECK(read_bytes(folder / "w.bin") == token_bytes({1, 2, 300, 65535}));
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("A writer that is given up leaves nothing and spares an older file") {
  const TemporaryFolder folder;
  write_bytes(folder / "w.bin", "older");
  {
    TokenFileWriter writer(folder / "w.bin");
    writer.append(std::vector<std::uint32_t>{1, 2, 3});
  }
  CHECK(read_bytes(folder / "w.bin") == "older");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("A writer that cannot write fails the run") {
  const TemporaryFolder folder;
  const std::string message = message_of<RunError>([&] { TokenFileWriter writer(folder / "no-such-folder/w.bin"); });
  CHECK(contains(message, "w.bin: cannot write: No such file"));
}
