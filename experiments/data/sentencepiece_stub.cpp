#include "experiments/data/tokenizer.hpp"
#include "experiments/errors.hpp"

namespace scalevec::experiments {
namespace {

[[noreturn]] void refuse() {
  throw UsageError("this build has no SentencePiece; install libsentencepiece-dev, configure and build again");
}

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const std::filesystem::path&) { refuse(); }
std::string train_sentencepiece(const TrainTokenizerOptions&) { refuse(); }

}  // namespace scalevec::experiments
