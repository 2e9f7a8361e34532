#include "experiments/record/json_lines.hpp"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

std::filesystem::path scratch() {
  const auto dir = std::filesystem::temp_directory_path() / ("scalevec-json-lines-" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  return dir / "log.jsonl";
}

void put(const std::filesystem::path& file, const std::string& text) { std::ofstream(file) << text; }

}  // namespace

TEST_CASE("a torn last line and lines past the checkpoint are dropped, the rest kept byte for byte") {
  const auto file = scratch();
  put(file, "{\"step\": 1, \"x\":  0.5}\n{\"step\":2}\n{\"step\":3}\n{\"ste");
  { JsonLines log(file, 2); }
  CHECK(content(file) == "{\"step\": 1, \"x\":  0.5}\n{\"step\":2}\n");
  // A last line without its line break may be torn in the middle of a number.
  put(file, "{\"step\":1}\n{\"step\":2}");
  { JsonLines log(file, 9); }
  CHECK(content(file) == "{\"step\":1}\n");
  std::filesystem::remove_all(file.parent_path());
}

TEST_CASE("lines up to the step may be dropped by what they say") {
  const auto file = scratch();
  put(file, "{\"step\":1,\"kind\":\"val\"}\n{\"step\":1,\"kind\":\"train\"}\n");
  {
    JsonLines log(file, 1, [](const nlohmann::json& line) { return line["kind"] == "train"; });
  }
  CHECK(content(file) == "{\"step\":1,\"kind\":\"train\"}\n");
  std::filesystem::remove_all(file.parent_path());
}

TEST_CASE("appended lines come back and numbers that are not finite are null") {
  const auto file = scratch();
  {
    JsonLines log(file, 0);
    log.append({{"step", 1}, {"loss", std::nan("")}});
    log.sync();
  }
  const std::string text = content(file);
  CHECK(nlohmann::json::parse(text)["loss"].is_null());
  CHECK(text.starts_with("{\"loss\":null,\"step\":1,\"checksum\":\""));
  { JsonLines log(file, 0); }
  CHECK(content(file).empty());
  std::filesystem::remove_all(file.parent_path());
}

TEST_CASE("a log goes on after the line that a checkpoint names, and refuses one that has no such line") {
  const auto file = scratch();
  put(file.parent_path() / "config.json", "{}");
  std::string end, text;
  {
    JsonLines log(file, -1);
    log.append({{"step", 1}});
    log.append({{"step", 2}});
    end = log.checksum();
    text = content(file);
    log.append({{"step", 3}});
  }
  const std::string whole = content(file);
  put(file, whole + "{\"ste");
  { JsonLines log(file, end); }
  CHECK(content(file) == text);
  {
    JsonLines log(file, end);
    log.append({{"step", 3}});
  }
  CHECK(content(file) == whole);

  // What comes after that line may be damaged, and what comes before may not.
  put(file, text + "{\"step\":9}\n");
  { JsonLines log(file, end); }
  CHECK(content(file) == text);
  std::string hit = whole;
  hit[8] = '7';
  put(file, hit);
  CHECK(contains(message_of([&] { JsonLines log(file, end); }), "line 1 does not fit its checksum"));
  CHECK(content(file) == hit);
  put(file, text.substr(0, text.find('\n') + 1));
  CHECK(contains(message_of([&] { JsonLines log(file, end); }), "does not hold the lines"));
  put(file, whole);
  put(file.parent_path() / "config.json", "{ }");
  CHECK(contains(message_of([&] { JsonLines log(file, end); }), "config.json"));
  std::filesystem::remove_all(file.parent_path());
}
