#include "experiments/system/mapped_file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "experiments/errors.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

// What the handler of SIGBUS searches, which takes no lock: a list whose entries are reused and never freed.
struct Mapping {
  std::atomic<std::uintptr_t> begin{0};  // 0: not in use
  std::size_t size = 0;
  std::string file;
  Mapping* next = nullptr;
};

std::atomic<Mapping*> mappings{nullptr};
std::mutex changes;
std::vector<Mapping*> unused;

void note(const void* data, std::size_t size, const fs::path& file) {
  const std::lock_guard lock(changes);
  Mapping* mapping = nullptr;
  if (unused.empty()) {
    mapping = new Mapping;
    mapping->next = mappings;
    mappings = mapping;
  } else {
    mapping = unused.back();
    unused.pop_back();
  }
  mapping->file = file.string();
  mapping->size = size;
  mapping->begin = reinterpret_cast<std::uintptr_t>(data);
}

void forget(const void* data) {
  const std::lock_guard lock(changes);
  for (Mapping* m = mappings; m != nullptr; m = m->next)
    if (m->begin == reinterpret_cast<std::uintptr_t>(data)) {
      m->begin = 0;
      unused.push_back(m);
      return;
    }
}

void say(std::string_view text) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

void say_and_end(int number, siginfo_t* info, void*) {
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Mapping* m = mappings; m != nullptr; m = m->next) {
    const std::uintptr_t begin = m->begin;
    if (begin == 0 || at < begin || at >= begin + m->size) continue;
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.begin(), digits.end(), at - begin).ptr;
    say("scalevec: ");
    say(m->file);
    say(": cannot be read at byte ");
    say({digits.data(), static_cast<std::size_t>(end - digits.data())});
    say(": it was cut after it was opened, or its disk failed\n");
    ::_exit(1);
  }
  ::signal(number, SIG_DFL);  // not ours: the access is made again, and ends the program
}

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

MappedFile::MappedFile(const fs::path& file) {
  // O_NONBLOCK: a pipe without a writer is then refused below instead of waited for.
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const int error = errno;
  const auto fail = [&](const std::string& why) {
    if (fd >= 0) ::close(fd);
    throw UsageError(file.string() + ": " + why);
  };
  if (fd < 0) fail(std::string("cannot open: ") + std::strerror(error));
  if (::fstat(fd, &opened_) != 0) fail(std::string("cannot open: ") + std::strerror(errno));
  if (S_ISDIR(opened_.st_mode)) fail("is a directory; allowed: a file");
  if (!S_ISREG(opened_.st_mode)) fail("is not a regular file");
  size_ = static_cast<std::size_t>(opened_.st_size);
  void* data = size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) fail(std::string("cannot map: ") + std::strerror(errno));
  ::close(fd);
  if (data == nullptr) return;
  data_ = data;
  note(data_, size_, file);
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  forget(data_);
  ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), opened_(other.opened_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(opened_, other.opened_);
  return *this;
}

bool MappedFile::written_to(const fs::path& file) const {
  struct stat now {};
  if (::stat(file.c_str(), &now) != 0 || now.st_dev != opened_.st_dev || now.st_ino != opened_.st_ino) return false;
  return now.st_size != opened_.st_size || !same_time(now.st_mtim, opened_.st_mtim);
}

void MappedFile::renew(const fs::path& file) {
  struct stat now {};
  if (::stat(file.c_str(), &now) == 0 && now.st_ino == opened_.st_ino) opened_ = now;
}

void say_when_mapped_files_fail() {
  struct sigaction action {};
  action.sa_sigaction = say_and_end;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace scalevec::experiments
