#include "experiments/data/tokenizer.hpp"

#include "experiments/errors.hpp"
#include "experiments/system/file_io.hpp"

namespace scalevec::experiments {
namespace {

class ByteTokenizer : public Tokenizer {
 public:
  std::int64_t vocab_size() const override { return 256; }
  std::string name() const override { return "bytes"; }
  void encode(std::string_view text, std::vector<std::uint32_t>& ids) const override {
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  }
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& description) {
  constexpr std::string_view kSentencePiece = "sentencepiece:";
  if (description == "bytes") return std::make_unique<ByteTokenizer>();
  if (description.starts_with(kSentencePiece) && description.size() > kSentencePiece.size())
    return make_sentencepiece_tokenizer(description.substr(kSentencePiece.size()));
  // A Hugging Face folder.
  if (std::filesystem::is_regular_file(std::filesystem::path(description) / "tokenizer.json"))
    return make_byte_bpe_tokenizer(description);
  throw UsageError("--tokenizer: got " + description +
                   "; allowed: bytes, sentencepiece:MODEL (a model file), a folder with tokenizer.json");
}

void train_tokenizer(const TrainTokenizerOptions& options) {
  if (options.texts.empty()) throw UsageError("--text: got no file; allowed: at least one file");
  if (options.out.empty()) throw UsageError("--out: got nothing; allowed: a file");
  if (std::filesystem::is_directory(options.out))
    throw UsageError("--out: " + options.out.string() + " is a directory; allowed: a file");
  if (options.vocab_size < 260 || options.vocab_size > 65536)
    throw UsageError("--vocab: got " + std::to_string(options.vocab_size) + "; allowed: 260 to 65536");
  if (std::filesystem::exists(options.out)) try {
      make_sentencepiece_tokenizer(options.out);
    } catch (const UsageError&) {
      throw UsageError("--out: " + options.out.string() +
                       " is there and is no SentencePiece model; allowed: another name, or remove it first");
    }
  write_file(options.out, train_sentencepiece(options));
}

}  // namespace scalevec::experiments
