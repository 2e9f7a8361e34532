#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace scalevec {

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline std::string content(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace scalevec
