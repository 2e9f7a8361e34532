#include "experiments/compare/gpus.hpp"

#include <cstdlib>
#include <sstream>

namespace scalevec::experiments {

namespace fs = std::filesystem;

std::vector<std::string> visible_gpus(const fs::path& driver) {
  std::vector<std::string> out;
  if (const char* given = std::getenv("CUDA_VISIBLE_DEVICES")) {
    std::istringstream names(given);
    for (std::string name; std::getline(names, name, ',');)
      if (!name.empty()) out.push_back(name);
    return out;
  }
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(driver, none)) {
    static_cast<void>(entry);
    out.push_back(std::to_string(out.size()));
  }
  return out;
}

}  // namespace scalevec::experiments
