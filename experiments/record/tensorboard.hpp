#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// TensorBoard's event files: records (length, checksums, protocol buffer `tensorflow.Event`), written without
// TensorFlow or a protocol-buffer library. The messages are those of tensorflow/core/util/event.proto and
// framework/summary.proto.
namespace scalevec::experiments {

// CRC-32C (Castagnoli), as iSCSI's RFC 3720 defines it.
std::uint32_t crc32c(std::string_view bytes);

// One record of an event file: the length, its masked CRC-32C, the message, its masked CRC-32C.
std::string event_record(std::string_view message);

struct Scalar {
  std::string tag;  // "train/loss"
  double value;
};

// A distribution known by quantiles: `count` values of which quantiles[i] lies at models::kGammaQuantiles[i].
struct Distribution {
  std::string tag;
  std::vector<double> quantiles;
  std::int64_t count;
};

// Serialised tensorflow.Event messages; `wall_time` in seconds since 1970. Values that are not finite are left out.
std::string version_event(double wall_time);
std::string restart_event(double wall_time, std::int64_t step);  // what was written of `step` and later is void
std::string summary_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars,
                          std::span<const Distribution> distributions = {});

// A run's event file. Each start has a file of its own, since TensorBoard follows files that only grow.
class EventFile {
 public:
  // Makes FOLDER/events.out.tfevents.… . Where the folder has earlier files, a run that goes on after `last_step`
  // tells readers to forget their later steps. Throws RunError.
  EventFile(const std::filesystem::path& folder, std::int64_t last_step);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // One write per call. Throws RunError, for example on a full disk.
  void append(std::int64_t step, std::span<const Scalar> scalars, std::span<const Distribution> distributions = {});

 private:
  void write(const std::string& message);

  std::filesystem::path file_;
  int fd_ = -1;
};

}  // namespace scalevec::experiments
