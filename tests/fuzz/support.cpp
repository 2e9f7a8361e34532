#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/fuzz/targets.hpp"

namespace scalevec::fuzz {

namespace fs = std::filesystem;

namespace {

// In memory where the system has a file system there.
fs::path unused_path(const std::string& name) {
  static const fs::path folder = fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
  return folder / ("scalevec-fuzz-" + std::to_string(::getpid()) + name);
}

void write(const fs::path& file, std::string_view bytes) {
  std::ofstream out(file, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  require(!out.fail(), "the input file can be written");
}

}  // namespace

InputFile::InputFile(std::string_view bytes, const char* extension) : path_(unused_path(extension)) {
  write(path_, bytes);
}

InputFile::~InputFile() {
  std::error_code ignored;
  fs::remove(path_, ignored);
}

InputFolder::InputFolder(const char* name, std::string_view bytes) : path_(unused_path("-folder")) {
  fs::create_directories(path_);
  write(path_ / name, bytes);
}

InputFolder::~InputFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace scalevec::fuzz
