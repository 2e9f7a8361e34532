#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace scalevec {

// Text to token ids.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Ids are in [0, vocab_size()). Token files hold 16 bits each up to kNarrowVocabulary, else 32.
  virtual std::int64_t vocab_size() const = 0;
  // How data.json names it: "bytes", or "sentencepiece:FILE sha256 HEX". Equal names mean equal ids for equal text.
  virtual std::string name() const = 0;
  // Appends the ids of one piece of text. UsageError for an id that the vocabulary does not have.
  virtual void encode(std::string_view text, std::vector<std::uint32_t>& ids) const = 0;
};

// "bytes": ids 0 to 255, no byte lost. "sentencepiece:MODEL": a SentencePiece model file; bytes that are not UTF-8
// become U+FFFD and the text is normalised as the model says, as in SentencePiece's own programs. UsageError otherwise,
// for a file that is no such model or has more than 65536 pieces, and where the build has no SentencePiece. A folder
// with a tokenizer.json of Hugging Face: byte-level BPE, see make_byte_bpe_tokenizer().
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& description);

struct TrainTokenizerOptions {
  std::vector<std::filesystem::path> texts;  // at least one, UTF-8
  std::int64_t vocab_size = 8192;            // pieces, in [260, 65536]; 259 are <unk>, <s>, </s> and the single bytes
  std::filesystem::path out;                 // the model file
};

// Trains a SentencePiece BPE model with byte fallback, no normalisation and no added space, so that every UTF-8 text
// comes back as it was; writes it beside its final place and renames it. UsageError on bad options, unreadable texts,
// and texts too small for the vocabulary.
void train_tokenizer(const TrainTokenizerOptions& options);

// Byte-level BPE as GPT-2, Llama 3, Qwen2 and SmolLM2 have it, read from folder/tokenizer.json; the ids that Hugging
// Face's tokenizers gives without special tokens around a text, special tokens in the text included. UsageError names
// what it cannot do: another model, expression, normalizer or option of added tokens; of text, bytes that are not
// UTF-8, and where the tokenizer normalises (NFC), characters that this may change. Not for use from two threads at
// once.
std::unique_ptr<Tokenizer> make_byte_bpe_tokenizer(const std::filesystem::path& folder);

// The part that a build without SentencePiece refuses with one line.
std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const std::filesystem::path& model);
std::string train_sentencepiece(const TrainTokenizerOptions& options);  // the model file's bytes

}  // namespace scalevec
