#include <fstream>
#include <sstream>

#include "tests/fuzz/targets.hpp"
#include "tests/support/catch.hpp"

// Every input of the corpora, which hold what the fuzzers once tripped over too.
TEST_CASE("the readers take or refuse every input of the fuzzers' corpora") {
  using namespace scalevec::fuzz;
  const std::pair<const char*, void (*)(std::string_view)> targets[] = {
      {"run_config", run_config}, {"policy", policy},           {"grid", grid},
      {"token_file", token_file}, {"safetensors", safetensors}, {"json_lines", json_lines},
      {"record", record},         {"run_record", run_record},   {"hugging_face", hugging_face},
      {"tokenizer", tokenizer},   {"shard_index", shard_index}, {"name_table", name_table}};
  for (const auto& [name, target] : targets) {
    size_t inputs = 0;
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(SCALEVEC_CORPUS) / name)) {
      INFO(entry.path());
      std::ostringstream text;
      text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      REQUIRE_NOTHROW(target(text.str()));
      ++inputs;
    }
    INFO(name);
    CHECK(inputs >= 3);
  }
}
