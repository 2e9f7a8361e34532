#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <regex>
#include <unordered_map>

#include "experiments/data/tokenizer.hpp"
#include "experiments/data/unicode_text.hpp"
#include "experiments/errors.hpp"
#include "experiments/system/mapped_file.hpp"
#include "experiments/system/sha256.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

// SentencePiece's reasons start with a source position and may have several lines.
std::string reason(const sentencepiece::util::Status& status) {
  std::string text = status.ToString();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(const fs::path& model) {
    const MappedFile map(model);
    const auto status = processor_.LoadFromSerializedProto({map.bytes().data(), map.bytes().size()});
    if (!status.ok()) throw UsageError(model.string() + ": is no SentencePiece model: " + reason(status));
    if (vocab_size() < 1 || vocab_size() > 65536)
      throw UsageError(model.string() + ": has " + std::to_string(vocab_size()) + " pieces; allowed: 1 to 65536");
    name_ = "sentencepiece:" + model.filename().string() + " sha256 " + sha256(map.bytes());
  }

  std::int64_t vocab_size() const override { return processor_.GetPieceSize(); }
  std::string name() const override { return name_; }

  void encode(std::string_view text, std::vector<std::uint32_t>& ids) const override {
    std::vector<int> pieces;
    const auto status = processor_.Encode({text.data(), text.size()}, &pieces);
    if (!status.ok()) throw UsageError(name_ + ": cannot encode the text: " + reason(status));
    for (const int id : pieces) {
      if (id < 0 || id >= vocab_size())
        throw UsageError(name_ + ": gave token id " + std::to_string(id) + "; allowed: 0 to " +
                         std::to_string(vocab_size() - 1));
      ids.push_back(static_cast<std::uint32_t>(id));
    }
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  std::string name_;
};

// The lines of mapped texts. SentencePiece's own file reader takes a comma in a file name for a separator.
class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::vector<MappedFile>& files) : files_(files) { Next(); }

  bool done() const override { return done_; }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

  void Next() override {
    while (file_ < files_.size() && at_ >= files_[file_].bytes().size()) {
      ++file_;
      at_ = 0;
    }
    if (file_ == files_.size()) {
      done_ = true;
      return;
    }
    const std::string_view rest = files_[file_].bytes().substr(at_);
    const std::size_t length = std::min(rest.find('\n'), rest.size());
    line_.assign(rest.substr(0, length));
    at_ += length + 1;
  }

 private:
  const std::vector<MappedFile>& files_;
  std::size_t file_ = 0, at_ = 0;
  std::string line_;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const fs::path& model) {
  return std::make_unique<SentencePieceTokenizer>(model);
}

std::string train_sentencepiece(const TrainTokenizerOptions& options) {
  std::vector<MappedFile> files;
  std::size_t bytes = 0;
  for (const fs::path& text : options.texts) {
    files.emplace_back(text);
    bytes += files.back().bytes().size();
    if (const std::size_t good = utf8_prefix(files.back().bytes()); good < files.back().bytes().size())
      throw UsageError(text.string() + ": is not UTF-8 at byte " + std::to_string(good) +
                       "; allowed: UTF-8 text, as iconv makes it");
  }
  if (bytes == 0) throw UsageError("--text: the files are empty; needed: text to count pairs in");
  const std::unordered_map<std::string, std::string> spec = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(options.vocab_size)},
      {"byte_fallback", "true"},
      {"character_coverage", "0.9995"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      // Longer lines would be left out.
      {"max_sentence_length", "1073741824"},
      {"num_threads", "2"},
      {"minloglevel", "2"},
  };
  Lines lines(files);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(spec, &lines, &model);
  if (!status.ok()) {
    const std::string why = reason(status);
    // "Vocabulary size is smaller than required_chars. 300 vs 345 …" and "Vocabulary size too high (…). Please set it
    // to a value <= 1234."
    std::smatch found;
    const std::string vocab = "--vocab: got " + std::to_string(options.vocab_size) + "; allowed for these texts: ";
    if (std::regex_search(why, found, std::regex("smaller than required_chars\\. \\d+ vs (\\d+)")))
      throw UsageError(vocab + "from " + found[1].str() + " on, for their characters");
    if (std::regex_search(why, found, std::regex("value <= (\\d+)")))
      throw UsageError(vocab + "up to " + found[1].str() + ", the most pieces they have");
    throw UsageError("--vocab: a vocabulary of " + std::to_string(options.vocab_size) +
                     " cannot be made from these texts: " + why);
  }
  return model;
}

}  // namespace scalevec::experiments
