#include "experiments/system/file_io.hpp"

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/data/data_support.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec::experiments;

TEST_CASE("a file that several write at once is always one of theirs, whole") {
  const scalevec::test::TemporaryFolder folder;
  const std::filesystem::path file = folder / "report.json";
  std::atomic<int> failed{0}, mixed{0};
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w)
    writers.emplace_back([&, w] {
      // Of several pages and other lengths, so that a write on top of another would show.
      const std::string own(static_cast<std::size_t>(20'000 + 7'000 * w), static_cast<char>('a' + w));
      for (int i = 0; i < 25; ++i) {
        try {
          write_file(file, own);
        } catch (const std::exception&) {
          ++failed;
        }
        const std::string read = scalevec::content(file);
        const char first = read.empty() ? 'a' : read[0];
        if (read != std::string(static_cast<std::size_t>(20'000 + 7'000 * (first - 'a')), first)) ++mixed;
      }
    });
  for (std::thread& w : writers) w.join();
  CHECK(failed == 0);
  CHECK(mixed == 0);
  CHECK(!std::filesystem::exists(file.string() + ".tmp"));
}
