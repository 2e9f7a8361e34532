#include "experiments/data/prepare.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "experiments/data/batch_source.hpp"
#include "experiments/data/info.hpp"
#include "experiments/system/sha256.hpp"
#include "tests/data/data_support.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using namespace scalevec::test;

namespace {

// Numbered lines of differing length: any byte's place in the text can be told from its line.
std::string numbered_lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "line " + std::to_string(i) + std::string(i * 7 % 40, '.') + "\n";
  return text;
}

std::string text_of(const fs::path& folder, const std::string& split) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind(split + "_", 0) == 0) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string text;
  for (const auto& file : files) {
    for (const int t : tokens_of(file)) text += static_cast<char>(t);
  }
  return text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line + "\n");
  return lines;
}

int number_of(const std::string& line) { return std::stoi(line.substr(5)); }

int entries(const fs::path& folder) { return static_cast<int>(std::distance(fs::directory_iterator(folder), {})); }

PrepareOptions small_options(const TemporaryFolder& folder) {
  PrepareOptions options;
  options.texts = {folder / "text"};
  options.out = folder / "out";
  options.val_fraction = 0.1;
  options.block_bytes = 200;
  return options;
}

}  // namespace

TEST_CASE("No line is torn, doubled or lost, and validation is spread over the whole text") {
  const TemporaryFolder folder;
  constexpr int kLines = 3000;
  write_bytes(folder / "text", numbered_lines(kLines));
  const PrepareResult result = prepare_data(small_options(folder));
  CHECK(result.written);

  const auto train = lines_of(text_of(folder / "out", "train")), val = lines_of(text_of(folder / "out", "val"));
  std::vector<int> split_of(kLines, 0);
  std::vector<std::string> merged(kLines);
  for (const auto& line : train) split_of[number_of(line)] += 1, merged[number_of(line)] = line;
  for (const auto& line : val) split_of[number_of(line)] += 100, merged[number_of(line)] = line;
  for (const int s : split_of) REQUIRE((s == 1 || s == 100));
  CHECK(std::accumulate(merged.begin(), merged.end(), std::string()) == read_bytes(folder / "text"));

  // Every twentieth of the text (some 4,500 bytes) has about a tenth of its bytes held out: one block of 200 to 255
  // bytes in ten makes one to three validation blocks there.
  const std::string text = read_bytes(folder / "text");
  std::vector<double> held(20);
  std::size_t at = 0;
  for (int i = 0; i < kLines; ++i) {
    if (split_of[i] == 100) held[at * 20 / text.size()] += static_cast<double>(merged[i].size());
    at += merged[i].size();
  }
  for (const double bytes : held) {
    CHECK(bytes * 20 / static_cast<double>(text.size()) >= 0.04);
    CHECK(bytes * 20 / static_cast<double>(text.size()) <= 0.18);
  }
}

TEST_CASE("Any bytes survive, in shards of the size asked for") {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>((i * 37 + i / 256) & 0xFF);
  write_bytes(folder / "text", text);
  PrepareOptions options = small_options(folder);
  options.val_fraction = 0.5;
  options.shard_tokens = 1000;
  const DataManifest manifest = prepare_data(options).manifest;
  const std::string train = text_of(folder / "out", "train"), val = text_of(folder / "out", "val");
  REQUIRE(train.size() + val.size() == text.size());

  // With one block in two held out, the blocks alternate.
  const auto ends = text_block_ends(text, 200);
  std::string expected_train, expected_val;
  for (std::size_t i = 0, begin = 0; i < ends.size(); begin = ends[i++]) {
    (i % 2 == 1 ? expected_val : expected_train) += text.substr(begin, ends[i] - begin);
  }
  CHECK(train == expected_train);
  CHECK(val == expected_val);
  REQUIRE(manifest.train.shards.size() == (train.size() + 999) / 1000);
  for (std::size_t i = 0; i + 1 < manifest.train.shards.size(); ++i) CHECK(manifest.train.shards[i].tokens == 1000);
  CHECK(manifest.train.shards.back().name == "train_00000" + std::to_string(manifest.train.shards.size() - 1) + ".bin");
}

TEST_CASE("Blocks end at lines, or before a character where a line is too long") {
  using Ends = std::vector<std::size_t>;
  CHECK(text_block_ends("", 4).empty());
  CHECK(text_block_ends("ab", 4) == Ends{2});
  CHECK(text_block_ends("abc\ndef\ngh", 4) == Ends{4, 8, 10});     // the break is the block's last byte
  CHECK(text_block_ends("abcd\nef\ngh", 4) == Ends{5, 10});        // or comes behind it
  CHECK(text_block_ends("abcdefghijklmnop", 4) == Ends{8, 16});    // no break within twice the length
  CHECK(text_block_ends("abcdefg\xC3\xA4xyz", 4) == Ends{7, 12});  // "ä" would be torn at 8
}

TEST_CASE("Several sources keep their order and share no block") {
  const TemporaryFolder folder;
  write_bytes(folder / "a", "a1\na2\na3");  // no line break at its end
  write_bytes(folder / "b", "b1\nb2\n");
  PrepareOptions options = small_options(folder);
  options.texts = {folder / "a", folder / "b"};
  options.block_bytes = 3;
  options.val_fraction = 0.5;
  prepare_data(options);
  CHECK(text_of(folder / "out", "train") == "a1\na3b2\n");
  CHECK(text_of(folder / "out", "val") == "a2\nb1\n");
}

TEST_CASE("data.json records what was made from what") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", numbered_lines(500));
  const PrepareResult result = prepare_data(small_options(folder));
  const auto json = nlohmann::json::parse(read_bytes(folder / "out/data.json"));
  CHECK(json["tokenizer"] == "bytes");
  CHECK(json["vocab_size"] == 256);
  CHECK(json["block_bytes"] == 200);
  CHECK(json["val_fraction"] == 0.1);
  CHECK(json["val_every"] == 10);
  REQUIRE(json["sources"].size() == 1);
  CHECK(json["sources"][0]["name"] == "text");
  CHECK(json["sources"][0]["bytes"] == numbered_lines(500).size());
  CHECK(json["sources"][0]["sha256"] == sha256(numbered_lines(500)));
  for (const char* split : {"train", "val"}) {
    REQUIRE(json[split]["files"].size() == 1);
    const auto& file = json[split]["files"][0];
    const fs::path path = folder / "out" / file["name"].get<std::string>();
    CHECK(file["sha256"] == sha256(read_bytes(path)));
    CHECK(file["tokens"] == tokens_of(path).size());
    CHECK(json[split]["tokens"] == file["tokens"]);
  }
  const TokenFolderSource source(folder / "out", 0);
  CHECK(json["sha256"] == source.data_hash());
  CHECK(source.vocab_size() == 256);
  CHECK(entries(folder / "out") == 3);
  CHECK(entries(folder.path()) == 2);  // nothing else beside
}

TEST_CASE("A second call leaves tokens of the same texts and options alone, and refuses others") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", numbered_lines(500));
  const PrepareOptions options = small_options(folder);
  const std::string hash = prepare_data(options).manifest.sha256;
  const auto written = fs::last_write_time(folder / "out/train_000000.bin");
  const PrepareResult again = prepare_data(options);
  CHECK(!again.written);
  CHECK(again.manifest.sha256 == hash);
  CHECK(fs::last_write_time(folder / "out/train_000000.bin") == written);

  const auto refusal = [&](auto change) {
    PrepareOptions changed = options;
    change(changed);
    return message_of([&] { prepare_data(changed); });
  };
  CHECK(contains(refusal([](auto& o) { o.block_bytes = 100; }), "another block_bytes"));
  CHECK(contains(refusal([](auto& o) { o.val_fraction = 0.2; }), "another val_fraction"));
  CHECK(contains(refusal([](auto& o) { o.shard_tokens = 50; }), "another shard_tokens"));
  write_bytes(folder / "text", numbered_lines(501));
  CHECK(contains(refusal([](auto&) {}), "another content of source text"));
  write_bytes(folder / "text", numbered_lines(500));

  std::string damaged = read_bytes(folder / "out/val_000000.bin");
  damaged.back() ^= 1;
  write_bytes(folder / "out/val_000000.bin", damaged);
  CHECK(contains(refusal([](auto&) {}), "val_000000.bin: missing or not as data.json records it"));
  CHECK(read_bytes(folder / "out/val_000000.bin") == damaged);
}

TEST_CASE("A folder of the user's is never touched") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", numbered_lines(500));
  fs::create_directory(folder / "out");
  write_bytes(folder / "out/thesis.txt", "precious");
  CHECK(contains(message_of([&] { prepare_data(small_options(folder)); }), "holds files but no data.json"));
  CHECK(read_bytes(folder / "out/thesis.txt") == "precious");
  CHECK(entries(folder / "out") == 1);

  fs::remove(folder / "out/thesis.txt");
  CHECK(prepare_data(small_options(folder)).written);  // an empty folder is fine
}

TEST_CASE("What a killed call left does not disturb the next") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", numbered_lines(500));
  fs::create_directory(folder / ".out.scalevec-partial");
  write_bytes(folder / ".out.scalevec-partial/train_000007.bin", "half");
  CHECK(prepare_data(small_options(folder)).written);
  CHECK(entries(folder / "out") == 3);
  CHECK(!fs::exists(folder / ".out.scalevec-partial"));
}

TEST_CASE("Bad options and texts are refused before anything is written") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", numbered_lines(500));
  write_bytes(folder / "copy", numbered_lines(500));
  write_bytes(folder / "empty", "");
  const auto refusal = [&](auto change) {
    PrepareOptions options = small_options(folder);
    change(options);
    return message_of([&] { prepare_data(options); });
  };
  CHECK(contains(refusal([](auto& o) { o.tokenizer = "gpt2"; }), "--tokenizer: got gpt2; allowed: bytes"));
  CHECK(contains(refusal([](auto& o) { o.val_fraction = 0.0; }), "--val-fraction: got 0; allowed: more than 0"));
  CHECK(contains(refusal([](auto& o) { o.val_fraction = 0.51; }), "--val-fraction: got 0.51; allowed"));
  CHECK(contains(refusal([](auto& o) { o.val_fraction = std::nan(""); }), "--val-fraction: got nan; allowed"));
  CHECK(contains(refusal([](auto& o) { o.block_bytes = 0; }), "--block: got 0; allowed: 1 to"));
  CHECK(contains(refusal([](auto& o) { o.shard_tokens = 0; }), "--shard-tokens: got 0; allowed: 1 to"));
  CHECK(contains(refusal([&](auto& o) { o.texts = {folder / "absent"}; }), "absent: cannot open"));
  CHECK(contains(refusal([&](auto& o) { o.texts = {folder.path()}; }), "is a directory"));
  CHECK(contains(refusal([&](auto& o) { o.texts.push_back(folder / "copy"); }), "copy: has the same content as text"));
  CHECK(contains(refusal([&](auto& o) { o.texts = {folder / "empty"}; }), "empty: empty; needed: "));
  CHECK(contains(refusal([](auto& o) { o.block_bytes = 5000; }), "needed: 6 blocks, for one of training and one of"));
  CHECK(contains(refusal([&](auto& o) { o.out = folder / "text"; }), "text: is a file"));
  CHECK(entries(folder.path()) == 3);
}

TEST_CASE("Info describes folders of ours and of others") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", numbered_lines(500));
  const DataManifest manifest = prepare_data(small_options(folder)).manifest;
  const DataInfo ours = inspect_data(folder / "out");
  CHECK(ours.errors.empty());
  CHECK(ours.sha256 == manifest.sha256);
  REQUIRE(ours.splits.size() == 2);
  CHECK(ours.splits[0].tokens + ours.splits[1].tokens == static_cast<std::int64_t>(numbered_lines(500).size()));
  CHECK(ours.splits[0].ids->low == '\n');
  CHECK(ours.vocab_size_needed() == 'n' + 1);

  fs::create_directory(folder / "other");
  write_bytes(folder / "other/tiny_train_0.bin", token_bytes({5, 50256}));
  write_bytes(folder / "other/tiny_train_1.bin", token_bytes({3}));
  write_bytes(folder / "other/tiny_val_0.bin", token_bytes({7}));
  const DataInfo other = inspect_data(folder / "other");
  CHECK(other.errors.empty());
  CHECK(!other.manifest.has_value());
  CHECK(other.vocab_size_needed() == 50257);
  CHECK(other.splits[0].files == 2);
  CHECK(other.splits[0].tokens == 3);
  CHECK(other.splits[0].ids->low == 3);

  const DataInfo file = inspect_data(folder / "other/tiny_train_0.bin");
  CHECK(file.splits[0].tokens == 2);
  CHECK(file.sha256 == sha256(token_bytes({5, 50256})));
}

TEST_CASE("Info names every damaged shard and every departure from data.json") {
  const TemporaryFolder folder;
  write_bytes(folder / "text", numbered_lines(500));
  prepare_data(small_options(folder));
  const std::string good = read_bytes(folder / "out/train_000000.bin");

  write_bytes(folder / "out/train_000000.bin", good + "x");
  write_bytes(folder / "out/val_000000.bin", "");
  const DataInfo damaged = inspect_data(folder / "out");
  REQUIRE(damaged.errors.size() == 2);
  CHECK(contains(damaged.errors[0], "train_000000.bin: has trailing bytes"));
  CHECK(contains(damaged.errors[1], "val_000000.bin: not a token file"));

  write_bytes(folder / "out/train_000000.bin", token_bytes({256, 1}));
  write_bytes(folder / "out/val_000007.bin", token_bytes({1}));
  fs::remove(folder / "out/val_000000.bin");
  const DataInfo departed = inspect_data(folder / "out");
  REQUIRE(departed.errors.size() == 4);
  CHECK(contains(departed.errors[0], "train_000000.bin: its SHA-256 is not the one in data.json"));
  CHECK(contains(departed.errors[1], "val_000000.bin: in data.json but missing"));
  CHECK(contains(departed.errors[2], "val_000007.bin: not in data.json"));
  CHECK(contains(departed.errors[3], "token id 256; allowed by data.json: 0 to 255"));
  CHECK(contains(message_of([&] { inspect_data(folder / "text"); }), "text: not a token file"));
}
