#include "experiments/data/token_file.hpp"

#include "experiments/errors.hpp"
#include "tests/fuzz/targets.hpp"

using namespace scalevec::experiments;

void scalevec::fuzz::token_file(std::string_view bytes) {
  const InputFile input(bytes, ".bin");
  try {
    const TokenFile file(input.path());
    // 20240801 in the first four bytes: 32 bits an id.
    const size_t width = bytes.substr(0, 4) == std::string_view("\xa1\xd9\x34\x01", 4) ? 4 : 2;
    require(1024 + width * static_cast<size_t>(file.size()) == bytes.size(), "the header's count is the file's");
    const auto range = file.id_range();
    require(range.has_value() == (file.size() > 0), "a file with tokens has a range of ids");
  } catch (const UsageError&) {
  }
}
