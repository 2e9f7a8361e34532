#include "experiments/data/tokenizer.hpp"

#include "experiments/errors.hpp"
#include "tests/fuzz/targets.hpp"

using namespace scalevec::experiments;

// A tokenizer.json, and after a zero byte a text for it.
void scalevec::fuzz::tokenizer(std::string_view bytes) {
  const size_t end = std::min(bytes.find('\0'), bytes.size());
  const InputFolder input("tokenizer.json", bytes.substr(0, end));
  const std::string text(bytes.substr(std::min(end + 1, bytes.size())));
  try {
    const auto tokenizer = make_byte_bpe_tokenizer(input.path());
    for (const std::string& t : {text, std::string(" It's 12 e\xcc\x81\n\n x \xf0\x9f\x99\x82")}) {
      std::vector<std::uint32_t> ids, again;
      tokenizer->encode(t, ids);
      tokenizer->encode(t, again);  // words come from the cache now
      require(ids == again, "equal text has equal ids");
      for (const auto id : ids) require(id < tokenizer->vocab_size(), "an id is in the vocabulary");
    }
  } catch (const UsageError& e) {
    require(std::string(e.what()).find('\n') == std::string::npos, "a refusal is one line");
  }
}
