#pragma once

#include <chrono>
#include <filesystem>
#include <string>

namespace scalevec::experiments {

// Exit status of a run whose folder another process uses: EX_TEMPFAIL of sysexits.h.
inline constexpr int kBusyStatus = 75;

// The lock on the file `lock` in the folder of a run. Only the process that holds it may change the folder. The system
// releases it when that process ends, however it ends, on one machine and over NFS or Lustre.
class RunLock {
 public:
  // Takes the lock and waits up to `patience` if another process holds it; held() tells the result. If the file system
  // has no locks, a line on stderr says so and held() is true. Throws RunError if the file cannot be written.
  explicit RunLock(const std::filesystem::path& folder, std::chrono::milliseconds patience = {});
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  bool held() const { return held_; }

 private:
  int fd_ = -1;
  bool held_ = false;
};

// "process 123 on HOST" if a process holds the lock of the folder, else empty. Takes no lock itself, so it never
// prevents a run from starting.
std::string lock_holder(const std::filesystem::path& folder);

}  // namespace scalevec::experiments
