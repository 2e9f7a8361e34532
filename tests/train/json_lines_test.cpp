#include "scalevec/experiments/train/json_lines.hpp"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "scalevec/tests/support/catch.hpp"
#include "scalevec/tests/support/text.hpp"

using namespace scalevec;

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
  CHECK(content(file) == "{\"loss\":null,\"step\":1}\n");
  { JsonLines log(file, 0); }
  CHECK(content(file).empty());
  std::filesystem::remove_all(file.parent_path());
}
