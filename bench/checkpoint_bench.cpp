#include <torch/types.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/paired.hpp"
#include "models/safetensors.hpp"

// What checksums cost a checkpoint: files with them against the same bytes without, written, synced and read in turns.
// The files are made in the folder SCALEVEC_BENCH_FOLDER, or in the current one: the disk decides most of the time.
namespace {

using namespace scalevec;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

fs::path folder() {
  const char* given = std::getenv("SCALEVEC_BENCH_FOLDER");
  return given ? fs::path(given) : fs::current_path();
}

void check(bool holds, const fs::path& file) {
  if (!holds) throw std::runtime_error(file.string() + ": a call failed");
}

template <class F>
double seconds(const F& f) {
  const auto start = Clock::now();
  f();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// What write_safetensors() does beside the checksum: the bytes of `header` and of the tensors, in one pass, synced.
void write_plain(const fs::path& file, const std::string& header, const models::NamedTensors& tensors) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  check(fd >= 0, file);
  const auto put = [&](const char* data, std::size_t size) {
    constexpr std::size_t kPiece = std::size_t{1} << 18;
    for (std::size_t n; size > 0; data += n, size -= n) {
      n = std::min(size, kPiece);
      check(::write(fd, data, n) == static_cast<ssize_t>(n), file);
    }
  };
  put(header.data(), header.size());
  for (const auto& [name, t] : tensors) put(static_cast<const char*>(t.data_ptr()), t.nbytes());
  check(::fsync(fd) == 0 && ::close(fd) == 0, file);
}

// The first bytes of a file up to its tensors, without a checksum.
std::string header_without_checksum(const models::NamedTensors& tensors) {
  std::string text = "{";
  std::size_t at = 0;
  for (const auto& [name, t] : tensors) {
    text += (at ? ",\"" : "\"") + name + "\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(t.size(0)) + "," +
            std::to_string(t.size(1)) + "],\"data_offsets\":[" + std::to_string(at) + "," +
            std::to_string(at + t.nbytes()) + "]}";
    at += t.nbytes();
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[static_cast<std::size_t>(i)] = static_cast<char>(text.size() >> (8 * i));
  return out + text;
}

// Off the page cache: read from the disk again.
void forget(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  check(fd >= 0 && ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0 && ::close(fd) == 0, file);
}

// `megabytes` in matrices of 1024 × 1024, as a checkpoint's two files are together.
void BM_checksums(benchmark::State& state) {
  at::set_num_threads(1);
  models::NamedTensors tensors;
  for (int i = 0; i < state.range(0) / 4; ++i)
    tensors.emplace_back("layers." + std::to_string(i) + ".weight", torch::randn({1024, 1024}));
  const std::string header = header_without_checksum(tensors);
  const fs::path with = folder() / "bench-with.safetensors", without = folder() / "bench-without.safetensors";
  std::vector<double> write, read, read_cached, both;
  for (auto _ : state) {
    double w[2], cold[2], warm[2];
    const bool first = write.size() % 2;
    for (const bool sums : {first, !first}) {
      const fs::path& file = sums ? with : without;
      w[sums] = seconds([&] {
        if (sums)
          models::write_safetensors(file, tensors);
        else
          write_plain(file, header, tensors);
      });
    }
    for (const bool sums : {first, !first}) {
      const fs::path& file = sums ? with : without;
      forget(file);
      cold[sums] = seconds([&] { models::read_safetensors(file); });
      warm[sums] = seconds([&] { models::read_safetensors(file); });
    }
    write.push_back(w[1] / w[0]);
    read.push_back(cold[1] / cold[0]);
    read_cached.push_back(warm[1] / warm[0]);
    both.push_back((w[1] + cold[1]) / (w[0] + cold[0]));
    state.counters["write_s"] = w[1];
    state.counters["read_s"] = cold[1];
    state.counters["cached_s"] = warm[1];
  }
  bench::report_ratio(state, "write", write);
  bench::report_ratio(state, "read", read);
  bench::report_ratio(state, "read_cached", read_cached);
  bench::report_ratio(state, "write_and_read", both);
  fs::remove(with);
  fs::remove(without);
}
BENCHMARK(BM_checksums)->Arg(16)->Arg(64)->Iterations(21)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
