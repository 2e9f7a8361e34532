#include "experiments/data/batch_source.hpp"
#include "experiments/data/synthetic_source.hpp"
#include "tests/data/data_support.hpp"
#include "tests/support/catch.hpp"
#include "tests/threads/threads.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

constexpr std::int64_t kSteps = 6, kRows = 8, kLength = 16;

// Rows of several steps and of the validation split, read one at a time in any order by so many threads.
std::vector<std::int64_t> read_rows(const BatchSource& source, int threads) {
  const std::int64_t row = kLength + 1, validation = source.validation_windows(kLength);
  std::vector<std::int64_t> out(static_cast<size_t>((kSteps * kRows + validation) * row), -1);
  test::on_threads(threads, kSteps * kRows + validation, [&](std::int64_t i) {
    std::int64_t* to = &out[static_cast<size_t>(i * row)];
    if (i < kSteps * kRows)
      source.train_batch(i / kRows, kRows, i % kRows, 1, kLength, to);
    else
      source.validation_rows(i - kSteps * kRows, 1, kLength, to);
  });
  return out;
}

void holds(const BatchSource& source) {
  const auto one = read_rows(source, 1);
  CHECK(read_rows(source, 4) == one);
  CHECK(std::find(one.begin(), one.end(), -1) == one.end());
}

}  // namespace

TEST_CASE("a source of batches is read by several threads at once", "[threads]") {
  SyntheticOptions options;
  options.vocab_size = 64;
  options.validation_windows = 8;
  holds(SyntheticSource(options, 3));

  const test::TemporaryFolder folder;
  test::write_bytes(folder / "train_000000.bin", test::token_bytes(test::counting(0, 900)));
  test::write_bytes(folder / "train_000001.bin", test::token_bytes(test::counting(100, 300)));
  test::write_bytes(folder / "val_000000.bin", test::token_bytes(test::counting(5, 200)));
  holds(TokenFolderSource(folder.path(), 3));
}
