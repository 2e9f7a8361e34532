#include "experiments/record/output_files.hpp"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "optim/config/json_reader.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRecords[] = {"cell.json",     "compare.json", "config.json",  "config-in.json",
                                         "data.json",     "ledger.json",  "lock",         "log.txt",
                                         "metrics.jsonl", "model.json",   "policy.json",  "profile.json",
                                         "state.json",    "summary.json", "traces.jsonl", "model.safetensors"};
// One of these tells whose a folder is.
constexpr std::pair<std::string_view, std::string_view> kOwners[] = {{"compare.json", "a comparison"},
                                                                     {"metrics.jsonl", "a run"},
                                                                     {"model.json", "a model"},
                                                                     {"model.safetensors", "a model"},
                                                                     {"model.safetensors.index.json", "a model"},
                                                                     {"config.json", "a run or a model"},
                                                                     {"data.json", "tokens"},
                                                                     {"ledger.json", "a ledger"}};

[[noreturn]] void refuse(std::string_view option, const fs::path& path, const std::string& why) {
  throw UsageError(std::string(option) + ": " + path.string() + " " + why);
}

}  // namespace

ResultKind page_kind() {
  return {"page of scalevec's", [](std::string_view text) {
            // Older versions wrote no generator.
            for (const char* mark : {"<meta name=\"generator\" content=\"scalevec", "<svg class=\"defs\" width=\"0\""})
              if (text.find(mark) != std::string_view::npos) return true;
            return false;
          }};
}

ResultKind json_kind(std::string name, std::initializer_list<const char*> keys) {
  return {std::move(name), [keys = std::vector<std::string>(keys.begin(), keys.end())](std::string_view text) {
            const nlohmann::json value = parse_json_if_sound(text);
            return value.is_object() &&
                   std::all_of(keys.begin(), keys.end(), [&](const std::string& key) { return value.contains(key); });
          }};
}

void check_output_file(const fs::path& file, std::string_view option, const ResultKind& kind) {
  const std::string name = file.filename().string();
  if (name.empty()) refuse(option, file, "names no file");
  if (std::find(std::begin(kRecords), std::end(kRecords), name) != std::end(kRecords))
    refuse(option, file, "has the name of a file that runs, comparisons and models have; allowed: another name");
  std::error_code error;
  if (fs::is_directory(file, error)) refuse(option, file, "is a folder; allowed: a file");
  const fs::path folder = file.has_parent_path() ? file.parent_path() : ".";
  if (!fs::is_directory(folder, error))
    refuse(option, folder, "is no folder; allowed: a file in a folder that is there");
  if (::access(folder.c_str(), W_OK) != 0)
    refuse(option, folder, "may not be written to; allowed: a file in a folder that may");
  if (fs::is_regular_file(file, error) && fs::file_size(file, error) > 0 && !kind.is_one(read_whole(file)))
    refuse(option, file, "is there and is no " + kind.name + "; allowed: another name, or remove it first");
}

void check_output_folder(const fs::path& folder, std::string_view option) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder, error))
    refuse(option, folder, "is a file; allowed: a folder");
  for (const auto& [file, owner] : kOwners)
    if (fs::exists(folder / file, error))
      refuse(option, folder, "holds " + std::string(owner) + " (" + std::string(file) + "); allowed: another folder");
  fs::create_directories(folder, error);
  if (error) refuse(option, folder, "cannot be made: " + error.message());
  if (::access(folder.c_str(), W_OK) != 0) refuse(option, folder, "may not be written to; allowed: a folder that may");
}

}  // namespace scalevec::experiments
