#include "experiments/claims/run_store.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "experiments/claims/metrics.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/overrides.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/staging_folder.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Descriptor {
  int fd;
  explicit Descriptor(int fd) : fd(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

// "english/plain-1a2b3c4d/lr=0.004,seed=1" as text and the rest.
std::pair<std::string, std::string> split(const std::string& run) {
  const size_t at = run.find('/');
  return {run.substr(0, at), run.substr(at + 1)};
}

// What many runs have in common, and a file says once.
constexpr const char* kShared[] = {"machine", "git_commit", "versions", "data", "data_hash", "threads"};

bool keeps_checkpoints(const fs::path& run) {
  const json config = read_json_if_whole(run / "config.json").value_or(json::object());
  const json* every = find_at(config, "checkpoint.every");
  return every && every->is_number() && every->get<double>() > 0.0;
}

json result_of(const fs::path& folder, const CellOutcome& outcome) {
  const json summary = read_record(folder / "summary.json").value_or(json::object());
  json out{{"status", outcome.state == CellOutcome::State::done ? "done" : "diverged"},
           {"reason", outcome.reason},
           {"metrics", json::object()}};
  for (const char* key : {"parameters", "tokens", "seconds", "cpu_seconds", "threads", "machine", "git_commit",
                          "versions", "data", "data_hash"})
    if (summary.contains(key)) out[key] = summary[key];
  if (outcome.state == CellOutcome::State::done)
    for (const std::string& name : run_metric_names())
      if (const double x = run_metric(folder, name); std::isfinite(x)) out["metrics"][name] = x;
  return out;
}

}  // namespace

RunStore::Results& RunStore::of_text(const std::string& text) const {
  const auto there = kept_.find(text);
  return there != kept_.end() ? there->second : kept_[text] = read_results(text);
}

RunStore::Results RunStore::read_results(const std::string& text) const {
  Results results;
  if (results_.empty()) return results;
  const fs::path file = results_ / (text + ".json");
  const auto kept = read_record(file);
  if (!kept) return results;
  if (text_at(*kept, "kind") != "results" || !kept->contains("runs"))
    throw UsageError(file.string() + ": does not hold results of runs");
  if (text_at(*kept, "text") != text)
    throw UsageError(file.string() + ": holds results on another text, " + text_at(*kept, "text"));
  const auto data = data_.find(text);
  if (data != data_.end() && text_at(*kept, "data_hash") != data->second)
    throw UsageError(file.string() + ": holds results on other data (SHA-256 " +
                     text_at(*kept, "data_hash").substr(0, 12) + "…, and this text is " + data->second.substr(0, 12) +
                     "…); use another --results");
  for (const auto& [run, result] : kept->at("runs").items()) {
    json& whole = results[run] = result;
    if (!whole.contains("made")) continue;
    whole.update(kept->at("made").at(whole["made"].get<size_t>()));
    whole.erase("made");
  }
  return results;
}

void RunStore::expect_data(const std::string& text, const std::string& data_hash) { data_[text] = data_hash; }

std::optional<CellOutcome> RunStore::outcome(const std::string& run) const {
  if (const auto it = read_.find(run); it != read_.end()) return it->second;
  const auto [text, rest] = split(run);
  Results& results = of_text(text);
  if (const auto it = results.find(rest); it != results.end()) {
    const json& r = it->second;
    const bool done = text_at(r, "status") == "done";
    return read_[run] = {done ? CellOutcome::State::done : CellOutcome::State::diverged,
                         done ? number_at(r.at("metrics"), "val_loss") : INFINITY, text_at(r, "reason"),
                         text_at(r, "data_hash")};
  }
  if (fs::exists(runs_ / run / "summary.json")) {
    const CellOutcome read = read_outcome(runs_ / run);
    if (read.state != CellOutcome::State::missing) {
      results[rest] = result_of(runs_ / run, read);
      changed_.insert(text);
      return read_[run] = read;
    }
  }
  const auto it = failed_.find(run);
  if (it == failed_.end()) return std::nullopt;
  return CellOutcome{CellOutcome::State::missing, kNaN, it->second, {}};
}

const json& RunStore::result(const std::string& run) const {
  static const json none = json::object();
  static_cast<void>(outcome(run));
  const auto [text, rest] = split(run);
  const Results& results = of_text(text);
  const auto it = results.find(rest);
  return it == results.end() ? none : it->second;
}

double RunStore::metric(const std::string& run, const std::string& name) const {
  const json& r = result(run);
  return r.contains("metrics") ? number_at(r["metrics"], name) : kNaN;
}

void RunStore::save() const {
  if (results_.empty() || changed_.empty()) return;
  make_folder(results_);
  // Another ledger may write to the same folder: it waits, and what it wrote is kept.
  const Descriptor folder(::open(results_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd >= 0) ::flock(folder.fd, LOCK_EX);
  for (const std::string& text : changed_) {
    const auto data = data_.find(text);
    kept_.at(text).merge(read_results(text));
    json runs = json::object();
    json made = json::array();
    for (const auto& [run, result] : kept_.at(text)) {
      if (keeps_checkpoints(runs_ / text / run)) continue;
      json own = result, shared = json::object();
      for (const char* key : kShared)
        if (own.contains(key)) {
          shared[key] = own[key];
          own.erase(key);
        }
      const auto at = std::find(made.begin(), made.end(), shared);
      own["made"] = at - made.begin();
      if (at == made.end()) made.push_back(shared);
      runs[run] = own;
    }
    const json out{{"kind", "results"},
                   {"text", text},
                   {"data_hash", data == data_.end() ? "" : data->second},
                   {"made", made},
                   {"runs", runs}};
    write_record(results_ / (text + ".json"), out.dump(1) + "\n");
  }
  changed_.clear();
}

}  // namespace scalevec::experiments
