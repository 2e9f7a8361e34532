#include "experiments/record/tensorboard.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "experiments/errors.hpp"
#include "experiments/system/staging_folder.hpp"
#include "experiments/system/text.hpp"
#include "models/trace_row.hpp"

namespace scalevec::experiments {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1) ? 0x82F63B78u : 0u);
    table[i] = c;
  }
  return table;
}

// Little-endian, as both the records and protocol buffers' fixed-size fields are.
template <class T>
void put_fixed(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((value >> (8 * i)) & 0xff);
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

// Wire types: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
void put_key(std::string& out, int field, int wire_type) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire_type));
}

void put_integer(std::string& out, int field, std::int64_t value) {
  put_key(out, field, 0);
  put_varint(out, static_cast<std::uint64_t>(value));
}

void put_double(std::string& out, int field, double value) {
  put_key(out, field, 1);
  put_fixed(out, std::bit_cast<std::uint64_t>(value));
}

void put_float(std::string& out, int field, float value) {
  put_key(out, field, 5);
  put_fixed(out, std::bit_cast<std::uint32_t>(value));
}

void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_key(out, field, 2);
  put_varint(out, bytes.size());
  out += bytes;
}

void put_doubles(std::string& out, int field, std::span<const double> values) {
  std::string packed;
  for (const double v : values) put_fixed(packed, std::bit_cast<std::uint64_t>(v));
  put_bytes(out, field, packed);
}

std::string event_head(double wall_time, std::int64_t step) {
  std::string out;
  put_double(out, 1, wall_time);
  put_integer(out, 2, step);
  return out;
}

// HistogramProto of a distribution: the share between two quantiles, at its middle, lies under the upper one.
std::string histogram(const Distribution& d) {
  const std::size_t n = std::size(models::kGammaQuantiles);
  const auto count = static_cast<double>(d.count);
  double sum = 0.0, squares = 0.0;
  std::vector<double> limits{d.quantiles.front()}, buckets{0.0};
  for (std::size_t i = 1; i < n; ++i) {
    const double share = (models::kGammaQuantiles[i] - models::kGammaQuantiles[i - 1]) * count;
    const double middle = (d.quantiles[i] + d.quantiles[i - 1]) / 2;
    sum += share * middle;
    squares += share * middle * middle;
    // Bucket limits must rise: quantiles that coincide share a bucket.
    if (d.quantiles[i] > limits.back()) {
      limits.push_back(d.quantiles[i]);
      buckets.push_back(share);
    } else {
      buckets.back() += share;
    }
  }
  std::string out;
  put_double(out, 1, d.quantiles.front());
  put_double(out, 2, d.quantiles.back());
  put_double(out, 3, count);
  put_double(out, 4, sum);
  put_double(out, 5, squares);
  put_doubles(out, 6, limits);
  put_doubles(out, 7, buckets);
  return out;
}

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto table = crc_table();
  std::uint32_t crc = ~0u;
  for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

std::string event_record(std::string_view message) {
  const auto masked = [](std::string_view bytes) {
    const std::uint32_t crc = crc32c(bytes);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  };
  std::string out;
  put_fixed(out, static_cast<std::uint64_t>(message.size()));
  put_fixed(out, masked(out));
  out += message;
  put_fixed(out, masked(message));
  return out;
}

std::string version_event(double wall_time) {
  std::string out;
  put_double(out, 1, wall_time);
  put_bytes(out, 3, "brain.Event:2");
  return out;
}

std::string restart_event(double wall_time, std::int64_t step) {
  constexpr int kStart = 1;
  std::string session;
  put_integer(session, 1, kStart);
  std::string out = event_head(wall_time, step);
  put_bytes(out, 7, session);
  return out;
}

std::string summary_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars,
                          std::span<const Distribution> distributions) {
  std::string summary, value;
  const auto put_value = [&](const std::string& tag) {
    put_bytes(value, 1, tag);
    put_bytes(summary, 1, value);
    value.clear();
  };
  for (const Scalar& s : scalars) {
    if (!std::isfinite(s.value)) continue;
    put_float(value, 2, static_cast<float>(s.value));
    put_value(s.tag);
  }
  for (const Distribution& d : distributions) {
    bool whole = d.quantiles.size() == std::size(models::kGammaQuantiles);
    for (const double q : d.quantiles) whole = whole && std::isfinite(q);
    if (!whole) continue;
    put_bytes(value, 5, histogram(d));
    put_value(d.tag);
  }
  std::string out = event_head(wall_time, step);
  put_bytes(out, 5, summary);
  return out;
}

EventFile::EventFile(const std::filesystem::path& folder, std::int64_t last_step) {
  make_folder(folder);
  const bool resumed = !std::filesystem::is_empty(folder);
  // Names sort by time, to the microsecond: the order in which TensorBoard reads them.
  const double started = now();
  file_ = folder / printed("events.out.tfevents.%010.0f.%06.0f.%s.%d", std::floor(started),
                           std::floor((started - std::floor(started)) * 1e6), host_name().c_str(),
                           static_cast<int>(::getpid()));
  fd_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw RunError(file_.string() + ": cannot be written: " + std::strerror(errno));
  write(version_event(started));
  if (resumed) write(restart_event(started, last_step + 1));
}

EventFile::~EventFile() {
  if (fd_ >= 0) ::close(fd_);
}

void EventFile::append(std::int64_t step, std::span<const Scalar> scalars,
                       std::span<const Distribution> distributions) {
  write(summary_event(now(), step, scalars, distributions));
}

void EventFile::write(const std::string& message) {
  const std::string record = event_record(message);
  std::size_t written = 0;
  while (written < record.size()) {
    const ssize_t n = ::write(fd_, record.data() + written, record.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw RunError(file_.string() + ": cannot be written: " + std::strerror(errno));
    written += static_cast<std::size_t>(n);
  }
}

}  // namespace scalevec::experiments
