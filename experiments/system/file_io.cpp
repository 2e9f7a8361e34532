#include "experiments/system/file_io.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include "experiments/errors.hpp"
#include "optim/config/checksum.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

struct Descriptor {
  int fd;
  explicit Descriptor(int fd) : fd(fd) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
};

}  // namespace

MappedFile::MappedFile(const fs::path& file) {
  // O_NONBLOCK: a pipe without a writer is then refused below instead of waited for.
  const Descriptor d(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (d.fd < 0 || ::fstat(d.fd, &status) != 0) {
    throw UsageError(file.string() + ": cannot open: " + std::strerror(errno));
  }
  if (S_ISDIR(status.st_mode)) throw UsageError(file.string() + ": is a directory; allowed: a file");
  if (!S_ISREG(status.st_mode)) throw UsageError(file.string() + ": is not a regular file");
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) return;
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, d.fd, 0);
  if (data == MAP_FAILED) throw UsageError(file.string() + ": cannot map: " + std::strerror(errno));
  data_ = data;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void write_file(const fs::path& file, std::string_view text) {
  const fs::path temporary = file.string() + ".tmp";
  std::FILE* out = std::fopen(temporary.c_str(), "wb");
  bool ok = out != nullptr && std::fwrite(text.data(), 1, text.size(), out) == text.size() && std::fflush(out) == 0 &&
            ::fsync(::fileno(out)) == 0;
  int reason = ok ? 0 : errno;
  if (out != nullptr && std::fclose(out) != 0 && ok) {
    ok = false;
    reason = errno;
  }
  if (ok && std::rename(temporary.c_str(), file.c_str()) != 0) {
    ok = false;
    reason = errno;
  }
  if (!ok) {
    if (out != nullptr) ::unlink(temporary.c_str());
    throw RunError(file.string() + ": cannot write: " + std::strerror(reason));
  }
}

void write_record(const fs::path& file, std::string_view json_text) { write_file(file, with_checksum(json_text)); }

nlohmann::json checked_record(std::string_view text, const fs::path& file) {
  bool absent = false;
  nlohmann::json value = parse_record(text, file.string(), &absent);
  if (absent) note_without_checksum(file);
  return value;
}

void note_without_checksum(const fs::path& file) {
  static std::once_flag said;
  std::call_once(said, [&] {
    std::fprintf(stderr,
                 "scalevec: %s has no checksum, as files of version 0.1 have none; such files are read unchecked\n",
                 file.c_str());
  });
}

void sync_folder(const fs::path& folder) {
  const Descriptor d(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (d.fd < 0 || ::fsync(d.fd) != 0) throw RunError(folder.string() + ": cannot sync: " + std::strerror(errno));
}

}  // namespace scalevec::experiments
