#include "scalevec/experiments/data/tokenizer.hpp"

#ifdef SCALEVEC_TEST_SENTENCEPIECE
#include <sentencepiece_processor.h>
#endif

#include <algorithm>

#include "scalevec/experiments/data/batch_source.hpp"
#include "scalevec/experiments/data/prepare.hpp"
#include "scalevec/tests/data/data_support.hpp"
#include "scalevec/tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::test;

TEST_CASE("Bytes are their own token ids") {
  std::vector<std::uint16_t> ids;
  make_tokenizer("bytes")->encode(std::string("A\0\xff\n", 4), ids);
  CHECK(ids == std::vector<std::uint16_t>{65, 0, 255, 10});
}

TEST_CASE("An unknown tokenizer is refused with what is allowed") {
  for (const std::string name : {"words", "sentencepiece", "sentencepiece:", ""}) {
    const std::string message = message_of([&] { make_tokenizer(name); });
    CHECK(contains(message, "--tokenizer: got " + name));
    CHECK(contains(message, "bytes, sentencepiece:MODEL"));
  }
}

#ifndef SCALEVEC_TEST_SENTENCEPIECE

TEST_CASE("A build without SentencePiece says how to get it") {
  CHECK(contains(message_of([] { make_tokenizer("sentencepiece:any.model"); }), "libsentencepiece-dev"));
}

#else

namespace {

// Words that repeat, spaces in rows, tabs, empty lines, letters of two to four bytes.
std::string sample_text(int lines) {
  const std::vector<std::string> words = {"scale", "vector", "gain",  "norm",  "der Größe",
                                          "γ",     "𝛽",      "  two", "\ttab", ""};
  std::string text;
  unsigned state = 1;
  for (int i = 0; i < lines; ++i) {
    for (int w = 0; w < 9; ++w) {
      state = state * 1664525u + 1013904223u;
      text += words[(state >> 16) % words.size()] + (w < 8 ? " " : "\n");
    }
  }
  return text;
}

}  // namespace

TEST_CASE("A trained vocabulary gives back the text, decoded by SentencePiece itself") {
  const TemporaryFolder folder;
  const std::string text = sample_text(2000);
  write_bytes(folder / "text, with a comma", text);
  train_tokenizer({{folder / "text, with a comma"}, 320, folder / "out.model"});

  sentencepiece::SentencePieceProcessor theirs;
  REQUIRE(theirs.Load((folder / "out.model").string()).ok());
  CHECK(theirs.GetPieceSize() == 320);

  PrepareOptions options;
  options.texts = {folder / "text, with a comma"};
  options.out = folder / "out";
  options.block_bytes = 300;
  options.val_fraction = 0.5;
  options.tokenizer = "sentencepiece:" + (folder / "out.model").string();
  const PrepareResult result = prepare_data(options);
  CHECK(result.manifest.vocab_size == 320);
  CHECK(contains(result.manifest.tokenizer, "sentencepiece:out.model sha256 "));

  const auto ends = text_block_ends(text, 300);
  std::string expected[2];
  for (std::size_t i = 0, begin = 0; i < ends.size(); begin = ends[i++])
    expected[i % 2] += text.substr(begin, ends[i] - begin);
  const char* splits[] = {"train_000000.bin", "val_000000.bin"};
  for (int split = 0; split < 2; ++split) {
    const std::vector<int> ids = tokens_of(folder / "out" / splits[split]);
    CHECK(*std::max_element(ids.begin(), ids.end()) < 320);
    // Merged pieces: fewer tokens than half the bytes.
    CHECK(2 * ids.size() < expected[split].size());
    std::string decoded;
    REQUIRE(theirs.Decode(ids, &decoded).ok());
    CHECK(decoded == expected[split]);
  }

  const TokenFolderSource source(folder / "out", 1);
  CHECK(source.vocab_size() == 320);
  const int highest = [&] {
    int high = 0;
    for (const char* split : splits)
      for (const int id : tokens_of(folder / "out" / split)) high = std::max(high, id);
    return high;
  }();
  source.check_vocabulary(highest + 1);
  CHECK(contains(message_of([&] { source.check_vocabulary(highest); }), "has id " + std::to_string(highest)));
}

TEST_CASE("A folder made with another model of the same name is not taken for up to date") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", sample_text(2000));
  PrepareOptions options;
  options.texts = {folder / "text"};
  options.out = folder / "out";
  options.tokenizer = "sentencepiece:" + (folder / "m.model").string();
  train_tokenizer({{folder / "text"}, 320, folder / "m.model"});
  prepare_data(options);
  CHECK_FALSE(prepare_data(options).written);
  train_tokenizer({{folder / "text"}, 300, folder / "m.model"});
  CHECK(contains(message_of([&] { prepare_data(options); }), "another tokenizer"));
}

TEST_CASE("What cannot be a vocabulary is refused in one line, and nothing is written") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", "a b\n");
  write_bytes(folder / "empty", "");
  const auto refused = [&](TrainTokenizerOptions options) {
    options.out = folder / "out.model";
    const std::string message = message_of([&] { train_tokenizer(options); });
    CHECK_FALSE(fs::exists(folder / "out.model"));
    CHECK_FALSE(contains(message, "\n"));
    return message;
  };
  CHECK(contains(refused({{folder / "text"}, 100, {}}), "--vocab: got 100; allowed: 260 to 65536"));
  CHECK(contains(refused({{folder / "text"}, 5000, {}}), "--vocab: a vocabulary of 5000"));
  CHECK(contains(refused({{folder / "absent"}, 300, {}}), "absent"));
  CHECK(contains(refused({{folder / "empty"}, 300, {}}), "empty"));
  write_bytes(folder / "bad.model", "not a model");
  CHECK(contains(message_of([&] { make_tokenizer("sentencepiece:" + (folder / "bad.model").string()); }),
                 "bad.model: is no SentencePiece model"));
  CHECK(
      contains(message_of([&] { make_tokenizer("sentencepiece:" + (folder / "none.model").string()); }), "none.model"));
}

#endif
