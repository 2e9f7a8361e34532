#pragma once

#include <filesystem>

namespace scalevec::experiments {

// Whether a file of this name may lie in any folder of ours: hidden, or what a launcher writes (.log, .txt, .out,
// .err).
inline bool is_side_file(const std::filesystem::path& name) {
  for (const char* end : {".log", ".txt", ".out", ".err"})
    if (name.extension() == end) return true;
  return name.string().starts_with(".");
}

}  // namespace scalevec::experiments
