#pragma once

#include <chrono>
#include <filesystem>
#include <string>

namespace scalevec {

// Exit status of a run whose folder another process is at work on: EX_TEMPFAIL of sysexits.h.
inline constexpr int kBusyStatus = 75;

// A run's folder belongs to the process that holds the lock on its file `lock`. The system frees it when that process
// ends, however it ends, on one machine and over NFS or Lustre.
class RunLock {
 public:
  // Takes the lock, waiting up to `patience` for who holds it. Where the file system has no locks, says so on stderr
  // and counts as held. Throws RunError if the file cannot be written.
  explicit RunLock(const std::filesystem::path& folder, std::chrono::milliseconds patience = {});
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  bool held() const { return held_; }

 private:
  int fd_ = -1;
  bool held_ = false;
};

// "process 123 on HOST" if a process holds the folder's lock, else empty. Takes no lock itself, so that looking never
// keeps a run from starting.
std::string lock_holder(const std::filesystem::path& folder);

}  // namespace scalevec
