#include "experiments/data/tokenizer.hpp"

#ifdef SCALEVEC_TEST_SENTENCEPIECE
#include <sentencepiece_processor.h>
#endif

#include <algorithm>
#include <nlohmann/json.hpp>

#include "experiments/data/batch_source.hpp"
#include "experiments/data/prepare.hpp"
#include "tests/data/data_support.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using namespace scalevec::test;

TEST_CASE("Bytes are their own token ids") {
  std::vector<std::uint32_t> ids;
  make_tokenizer("bytes")->encode(std::string("A\0\xff\n", 4), ids);
  CHECK(ids == std::vector<std::uint32_t>{65, 0, 255, 10});
}

TEST_CASE("Byte-level BPE gives the ids of Hugging Face's tokenizers") {
  const fs::path fixtures = SCALEVEC_FIXTURES "/tokenizers";
  const nlohmann::json expected = nlohmann::json::parse(read_bytes(fixtures / "expected.json"));
  const auto texts = expected["texts"].get<std::vector<std::string>>();
  for (const auto& [name, all] : expected["ids"].items()) {
    const auto tokenizer = make_tokenizer((fixtures / name).string());
    CHECK(tokenizer->vocab_size() == 421);
    CHECK(contains(tokenizer->name(), "tokenizer.json:" + name + " sha256 "));
    for (std::size_t i = 0; i < texts.size(); ++i) {
      INFO(name << ": " << texts[i]);
      std::vector<std::uint32_t> ids;
      tokenizer->encode(texts[i], ids);
      CHECK(ids == all[i].get<std::vector<std::uint32_t>>());
    }
  }
}

TEST_CASE("What a tokenizer.json asks for and is not done is refused by name") {
  const fs::path fixtures = SCALEVEC_FIXTURES "/tokenizers";
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& from, auto change) {
    nlohmann::json json = nlohmann::json::parse(read_bytes(fixtures / from / "tokenizer.json"));
    change(json);
    write_bytes(folder / "tokenizer.json", json.dump());
    const std::string message = message_of([&] { make_tokenizer(folder.path().string()); });
    CHECK(!contains(message, "\n"));
    return message;
  };
  CHECK(contains(refusal("gpt2", [](auto& j) { j["model"]["type"] = "Unigram"; }), "model.type: got \"Unigram\""));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["model"]["byte_fallback"] = true; }), "model.byte_fallback"));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["model"]["dropout"] = 0.1; }), "model.dropout"));
  CHECK(
      contains(refusal("gpt2", [](auto& j) { j["model"]["vocab"] = nlohmann::json::object(); }), "for a single byte"));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["model"]["vocab"]["A"] = -1; }), "model.vocab.A"));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["model"]["unk_token"] = "none such"; }), "model.unk_token"));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["model"]["merges"].push_back("A zzz"); }), "model.merges"));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["normalizer"] = {{"type", "Lowercase"}}; }), "normalizer"));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["added_tokens"][0]["lstrip"] = true; }), "lstrip"));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["added_tokens"][0]["id"] = 7000; }), "as in the vocab"));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["pre_tokenizer"] = nullptr; }), "pre_tokenizer"));
  CHECK(contains(refusal("gpt2", [](auto& j) { j["pre_tokenizer"] = {{"type", "Whitespace"}}; }), "pre_tokenizer"));
  CHECK(
      contains(refusal("llama3", [](auto& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+"; }),
               "pre_tokenizer"));
  write_bytes(folder / "tokenizer.json", "[]");
  CHECK(contains(message_of([&] { make_tokenizer(folder.path().string()); }), "is no JSON object"));
  std::vector<std::uint32_t> ids;
  CHECK(contains(message_of([&] { make_tokenizer((fixtures / "gpt2").string())->encode("a\xff", ids); }), "not UTF-8"));
}

TEST_CASE("A vocabulary beyond 16 bits is written with 32 bits an id and trained from") {
  nlohmann::json json =
      nlohmann::json::parse(read_bytes(fs::path(SCALEVEC_FIXTURES "/tokenizers/gpt2/tokenizer.json")));
  const TemporaryFolder folder;
  fs::create_directory(folder / "wide");
  json["added_tokens"].push_back({{"id", 128255}, {"content", "<|far|>"}, {"special", true}});
  write_bytes(folder / "wide/tokenizer.json", json.dump());
  std::string text;
  for (int i = 0; i < 400; ++i) text += "A line of text, and then a token far away <|far|>\n";
  write_bytes(folder / "text", text);
  PrepareOptions options;
  options.texts = {folder / "text"};
  options.out = folder / "out";
  options.tokenizer = (folder / "wide").string();
  options.val_fraction = 0.25;
  const PrepareResult result = prepare_data(options);
  CHECK(result.manifest.vocab_size == 128256);
  CHECK(result.manifest.train.bytes + result.manifest.val.bytes == static_cast<std::int64_t>(text.size()));
  CHECK(read_bytes(folder / "out/train_000000.bin").substr(0, 8) == little_endian(20240801, 4) + little_endian(7, 4));
  const TokenFolderSource source(folder / "out", 1);
  CHECK(source.vocab_size() == 128256);
  CHECK_NOTHROW(source.check_vocabulary(128256));
  CHECK(contains(message_of([&] { source.check_vocabulary(128255); }), "has id 128255"));
  std::vector<std::int64_t> row(33);
  bool far = false;
  for (std::int64_t step = 0; step < 8; ++step) {
    source.train_batch(step, 1, 0, 1, 32, row.data());
    for (const std::int64_t id : row) far = far || id == 128255;
  }
  CHECK(far);
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
  CHECK(contains(refused({{folder / "text"}, 5000, {}}), "--vocab: got 5000; allowed for these texts: up to "));
  CHECK(contains(refused({{folder / "absent"}, 300, {}}), "absent"));
  CHECK(contains(refused({{folder / "empty"}, 300, {}}), "empty"));
  write_bytes(folder / "bad.model", "not a model");
  CHECK(contains(message_of([&] { make_tokenizer("sentencepiece:" + (folder / "bad.model").string()); }),
                 "bad.model: is no SentencePiece model"));
  CHECK(
      contains(message_of([&] { make_tokenizer("sentencepiece:" + (folder / "none.model").string()); }), "none.model"));
}

#endif
