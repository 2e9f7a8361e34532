#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "scalevec/tests/fuzz/targets.hpp"

namespace scalevec::fuzz {

namespace fs = std::filesystem;

InputFile::InputFile(std::string_view bytes, const char* extension) {
  static const fs::path folder = fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
  path_ = folder / ("scalevec-fuzz-" + std::to_string(::getpid()) + extension);
  std::ofstream out(path_, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  require(!out.fail(), "the input file can be written");
}

InputFile::~InputFile() {
  std::error_code ignored;
  fs::remove(path_, ignored);
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace scalevec::fuzz
