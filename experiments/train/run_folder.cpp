#include "scalevec/experiments/train/run_folder.hpp"

#include "scalevec/experiments/data/file_io.hpp"
#include "scalevec/experiments/errors.hpp"

namespace scalevec {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// The first key path where two configurations differ, empty if none.
std::string difference(const json& a, const json& b, const std::string& path = "") {
  if (a == b) return {};
  if (!a.is_object() || !b.is_object()) return path + " (" + a.dump() + " there, " + b.dump() + " here)";
  for (const auto& [key, value] : a.items()) {
    const std::string at = path.empty() ? key : path + "." + key;
    const std::string found = difference(value, b.contains(key) ? b[key] : json(), at);
    if (!found.empty()) return found;
  }
  for (const auto& [key, value] : b.items())
    if (!a.contains(key)) return (path.empty() ? key : path + "." + key) + " (only here)";
  return {};
}

}  // namespace

void claim_folder(const RunConfig& config, const fs::path& out, bool resume) {
  std::error_code ec;
  if (fs::exists(out / "config.json", ec)) {
    const std::string where =
        difference(read_json_file((out / "config.json").string()), json::parse(config.resolved.dump()));
    if (!where.empty())
      throw UsageError(out.string() + ": holds a run of another configuration; it differs at " + where +
                       "; allowed: the same configuration, or another --out");
    if (!resume) throw UsageError(out.string() + ": holds a run already; allowed: --resume, or another --out");
    return;
  }
  if (fs::exists(out, ec) && !fs::is_directory(out, ec)) throw UsageError(out.string() + ": is not a folder");
}

}  // namespace scalevec
