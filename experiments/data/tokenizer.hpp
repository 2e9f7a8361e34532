#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace scalevec::experiments {

// Converts text to token ids.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Ids are in [0, vocab_size()). Token files hold 16 bits each up to kNarrowVocabulary, else 32.
  virtual std::int64_t vocab_size() const = 0;
  // The name in data.json: "bytes", or "sentencepiece:FILE sha256 HEX". Equal names mean equal ids for equal text.
  virtual std::string name() const = 0;
  // Appends the ids of one piece of text to `ids`. Throws UsageError for an id that is not in the vocabulary.
  virtual void encode(std::string_view text, std::vector<std::uint32_t>& ids) const = 0;
};

// The tokenizer of a description. "bytes": ids 0 to 255, the bytes of the text. "sentencepiece:MODEL": a SentencePiece
// model file; bytes that are not UTF-8 become U+FFFD, and the text is normalised as the model says, as in
// SentencePiece's own programs. A folder with a tokenizer.json of Hugging Face: byte-level BPE, see
// make_byte_bpe_tokenizer(). Throws UsageError for any other description, for a file that is not such a model or has
// more than 65536 pieces, and if the build has no SentencePiece.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& description);

struct TrainTokenizerOptions {
  std::vector<std::filesystem::path> texts;  // at least one, UTF-8
  std::int64_t vocab_size = 8192;            // pieces, in [260, 65536]; 259 are <unk>, <s>, </s> and the single bytes
  std::filesystem::path out;                 // the model file
};

// Trains a SentencePiece BPE model with byte fallback, without normalisation and without an added space, so that
// decoding returns every UTF-8 text unchanged. Writes it to a temporary file and renames it. Throws UsageError for
// wrong options, unreadable texts, and texts that are too small for the vocabulary.
void train_tokenizer(const TrainTokenizerOptions& options);

// Byte-level BPE as GPT-2, Llama 3, Qwen2 and SmolLM2 have it, read from folder/tokenizer.json. The ids are those of
// Hugging Face's tokenizers with add_special_tokens=False; special tokens in the text are found. Throws UsageError for
// what it cannot do, by name: another model, regular expression, normalizer or option of added tokens, and text that is
// not UTF-8. Not for use from two threads at once.
std::unique_ptr<Tokenizer> make_byte_bpe_tokenizer(const std::filesystem::path& folder);

// In a build without SentencePiece these throw UsageError with one line.
std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const std::filesystem::path& model);
std::string train_sentencepiece(const TrainTokenizerOptions& options);  // the model file's bytes

}  // namespace scalevec::experiments
