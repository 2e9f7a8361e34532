#include "experiments/data/batch_source.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "experiments/data/token_folder.hpp"
#include "experiments/system/sha256.hpp"
#include "tests/data/batch_rows.hpp"
#include "tests/data/data_support.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using namespace scalevec::test;

namespace {

Ids validation_rows(const BatchSource& source, std::int64_t first, std::int64_t count, std::int64_t seq_len) {
  Ids ids(count * (seq_len + 1), -1);
  source.validation_rows(first, count, seq_len, ids.data());
  return ids;
}

// Three training shards in which every token is unique, named as modded-nanogpt names them: 0 to 99, 1000 to 1004 (too
// short for a window of 8) and 2000 to 2052; and a validation shard 3000 to 3040.
struct Shards {
  TemporaryFolder folder;
  Shards() {
    write_bytes(folder / "fineweb_train_000001.bin", token_bytes(counting(0, 100)));
    write_bytes(folder / "fineweb_train_000002.bin", token_bytes(counting(1000, 5)));
    write_bytes(folder / "fineweb_train_000003.bin", token_bytes(counting(2000, 53)));
    write_bytes(folder / "fineweb_val_000000.bin", token_bytes(counting(3000, 41)));
    write_bytes(folder / "notes.txt", "no tokens");
  }
};

// The windows of length 8 + 1 that tile those shards, by their first token.
std::set<std::int64_t> expected_starts() {
  std::set<std::int64_t> starts;
  for (int w = 0; w < 12; ++w) starts.insert(8 * w);        // 99 / 8
  for (int w = 0; w < 6; ++w) starts.insert(2000 + 8 * w);  // 52 / 8
  return starts;
}

}  // namespace

TEST_CASE("An epoch covers every window once, over shards of any length") {
  const Shards shards;
  const TokenFolderSource source(shards.folder.path(), 5);
  REQUIRE(source.epoch_windows(8) == 18);
  // A batch of 5 does not divide 18: epochs end inside batches.
  std::vector<Ids> rows;
  for (std::int64_t step = 0; step < 18; ++step) {
    for (std::int64_t row = 0; row < 5; ++row) rows.push_back(train_rows(source, step, 5, row, 1, 8));
  }
  std::vector<Ids> orders;
  for (int epoch = 0; epoch < 5; ++epoch) {
    std::set<std::int64_t> starts;
    std::set<std::int64_t> inputs;
    Ids order;
    for (int i = 0; i < 18; ++i) {
      const Ids& row = rows[epoch * 18 + i];
      for (int t = 1; t <= 8; ++t) REQUIRE(row[t] == row[0] + t);
      for (int t = 0; t < 8; ++t) REQUIRE(inputs.insert(row[t]).second);
      starts.insert(row[0]);
      order.push_back(row[0]);
    }
    CHECK(starts == expected_starts());
    orders.push_back(order);
  }
  CHECK(orders[0] != orders[1]);
  CHECK(orders[1] != orders[2]);
}

TEST_CASE("A batch depends on data seed, step and global batch only") {
  const Shards shards;
  const fs::path folder = shards.folder.path();
  const TokenFolderSource source(folder, 5), again(folder, 5), other(folder, 6);
  const Ids whole = train_rows(source, 7, 6, 0, 6, 8);

  SECTION("a fresh source resumes at any step") { CHECK(train_rows(again, 7, 6, 0, 6, 8) == whole); }
  SECTION("slices of ranks make up the whole") {
    Ids joined;
    for (const auto& [first, count] : {std::pair{0, 2}, {2, 3}, {5, 1}}) {
      const Ids slice = train_rows(source, 7, 6, first, count, 8);
      joined.insert(joined.end(), slice.begin(), slice.end());
    }
    CHECK(joined == whole);
  }
  SECTION("the same windows in the same order whatever the batch size") {
    CHECK(train_rows(source, 14, 3, 0, 3, 8) == Ids(whole.begin(), whole.begin() + 27));
    CHECK(train_rows(source, 15, 3, 0, 3, 8) == Ids(whole.begin() + 27, whole.end()));
  }
  SECTION("other steps and seeds give other rows") {
    CHECK(train_rows(source, 8, 6, 0, 6, 8) != whole);
    CHECK(train_rows(other, 7, 6, 0, 6, 8) != whole);
  }
  SECTION("far steps work") {
    const Ids far = train_rows(source, 1'000'000'000'000, 6, 0, 6, 8);
    for (int r = 0; r < 6; ++r) CHECK(expected_starts().count(far[r * 9]) == 1);
  }
}

TEST_CASE("Validation covers its split once, alike for every data seed") {
  const Shards shards;
  const TokenFolderSource source(shards.folder.path(), 5), other(shards.folder.path(), 6);
  REQUIRE(source.validation_windows(8) == 5);
  const Ids rows = validation_rows(source, 0, 5, 8);
  std::set<std::int64_t> starts;
  for (int r = 0; r < 5; ++r) {
    starts.insert(rows[r * 9]);
    for (int t = 1; t <= 8; ++t) CHECK(rows[r * 9 + t] == rows[r * 9] + t);
  }
  CHECK(starts == std::set<std::int64_t>{3000, 3008, 3016, 3024, 3032});
  CHECK(validation_rows(other, 0, 5, 8) == rows);
  CHECK(validation_rows(source, 3, 2, 8) == Ids(rows.begin() + 27, rows.end()));
  CHECK(contains(message_of<std::out_of_range>([&] { validation_rows(source, 4, 2, 8); }), "allowed: within 5"));
}

TEST_CASE("A split shorter than one sequence is refused with the tokens found and needed") {
  const Shards shards;
  const TokenFolderSource source(shards.folder.path(), 5);
  CHECK(source.validation_windows(40) == 1);
  const std::string val = message_of([&] { source.validation_windows(41); });
  CHECK(contains(val, "val split is shorter than one sequence: 41 tokens in its longest shard; needed: 42"));
  const std::string train = message_of([&] { train_rows(source, 0, 1, 0, 1, 100); });
  CHECK(contains(train, "train split is shorter than one sequence: 100 tokens in its longest shard; needed: 101"));
}

TEST_CASE("Token ids are checked against a vocabulary") {
  const Shards shards;
  const TokenFolderSource source(shards.folder.path(), 5);
  CHECK(source.vocab_size() == 3041);
  CHECK_NOTHROW(source.check_vocabulary(3041));
  const std::string val = message_of([&] { source.check_vocabulary(3040); });
  CHECK(contains(val, "fineweb_val_000000.bin: token 40 has id 3040; allowed: 0 to 3039"));
  const std::string train = message_of([&] { source.check_vocabulary(2010); });
  CHECK(contains(train, "fineweb_train_000003.bin: token 10 has id 2010; allowed: 0 to 2009"));
  CHECK(contains(train, "the file needs 2053"));
}

TEST_CASE("A folder without both splits, or with a damaged shard, is refused") {
  const TemporaryFolder folder;
  CHECK(contains(message_of([&] { TokenFolderSource(folder / "absent", 0); }), "absent: cannot read as a folder"));
  CHECK(contains(message_of([&] { TokenFolderSource(folder.path(), 0); }), "no *train*.bin"));
  write_bytes(folder / "train_0.bin", token_bytes({1, 2, 3}));
  CHECK(contains(message_of([&] { TokenFolderSource(folder.path(), 0); }), "no *val*.bin"));
  write_bytes(folder / "val_0.bin", token_bytes({1, 2, 3}).substr(0, 1025));
  CHECK(contains(message_of([&] { TokenFolderSource(folder.path(), 0); }), "val_0.bin: truncated"));
  write_bytes(folder / "val_0.bin", token_bytes({1, 2, 3}));
  CHECK_NOTHROW(TokenFolderSource(folder.path(), 0));
  write_bytes(folder / "train_val.bin", token_bytes({1, 2, 3}));
  CHECK(contains(message_of([&] { TokenFolderSource(folder.path(), 0); }), "holds both train and val"));
}

TEST_CASE("Shards are told apart by whole words of their names") {
  const TemporaryFolder folder;
  for (const char* name :
       {"medieval_train_0.bin", "train.bin", "TinyStories-train01.bin", "training.bin", "val_000000.bin",
        "a.validation.bin", "valid7.bin", "constraints.bin", "interval.bin", "strain_1.bin"})
    write_bytes(folder / name, token_bytes({1, 2, 3}));
  const ShardPaths found = find_shards(folder.path());
  const auto names = [](const std::vector<fs::path>& files) {
    std::vector<std::string> out;
    for (const fs::path& file : files) out.push_back(file.filename().string());
    return out;
  };
  CHECK(names(found.train) ==
        std::vector<std::string>{"TinyStories-train01.bin", "medieval_train_0.bin", "train.bin", "training.bin"});
  CHECK(names(found.val) == std::vector<std::string>{"a.validation.bin", "val_000000.bin", "valid7.bin"});
}

TEST_CASE("The data hash follows content and split, not names") {
  const TemporaryFolder folder;
  const auto make = [&](const char* name, const char* train, const char* val, std::vector<int> t, std::vector<int> v) {
    fs::create_directory(folder / name);
    write_bytes(folder / name / train, token_bytes(t));
    write_bytes(folder / name / val, token_bytes(v));
    return TokenFolderSource(folder / name, 0).data_hash();
  };
  const std::string hash = make("a", "train.bin", "val.bin", {1, 2}, {3, 4});
  CHECK(hash.size() == 64);
  CHECK(make("b", "x_train_1.bin", "x_val_1.bin", {1, 2}, {3, 4}) == hash);
  CHECK(make("c", "train.bin", "val.bin", {3, 4}, {1, 2}) != hash);
  CHECK(make("d", "train.bin", "val.bin", {1, 2}, {3, 5}) != hash);
}
