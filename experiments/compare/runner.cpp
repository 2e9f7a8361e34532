#include "experiments/compare/runner.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <sstream>
#include <thread>

#include "experiments/compare/analysis.hpp"
#include "experiments/data/batch_source.hpp"
#include "experiments/distributed/child_process.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/overrides.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/record/run_lock.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/staging_folder.hpp"
#include "experiments/system/terminal_text.hpp"
#include "experiments/system/text.hpp"
#include "optim/config/checksum.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kStarting = ".starting-";
constexpr size_t kChecksAtOnce = 256;  // configurations in one process, whose arguments have a limit

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// "Why it ended" for a message: the log's last line, or how the process ended if it said nothing.
std::string reason_of(const fs::path& log, const ChildEnd& end) {
  std::string line = last_line(log);
  if (constexpr std::string_view kOurs = "scalevec: "; line.starts_with(kOurs)) line.erase(0, kOurs.size());
  const std::string said = line.empty() ? "" : "; last line: " + line;
  std::error_code error;
  // A child on a full disk has no room for its last words either.
  if (const fs::space_info disk = fs::space(log.parent_path(), error); !error && disk.available < (1 << 16))
    return end.text() + "; the disk of " + log.parent_path().string() + " is full" + said;
  if (end.signal) return end.text() + said;
  return line.empty() ? end.text() : line;
}

bool finished(const fs::path& folder) { return read_outcome(folder).state != CellOutcome::State::missing; }

struct CellPlan {
  const Cell* cell;
  bool started;  // its folder has a cell.json with its hash
};

// SHA-256 of the token folders that configurations name, each read once. Empty for other data, and for a folder that
// can't be read, which the check of the configuration names.
class DataHashes {
 public:
  const std::string& of(const json& config) {
    const json* given = find_at(config, "data.dir");
    const std::string dir = given && given->is_string() ? given->get<std::string>() : "";
    const auto known = hashes_.find(dir);
    return known != hashes_.end() ? known->second : hashes_[dir] = dir.empty() ? "" : hash(dir);
  }

 private:
  static std::string hash(const std::string& dir) {
    try {
      return TokenFolderSource(dir, 0).data_hash();
    } catch (const std::exception&) {
      return {};
    }
  }
  std::map<std::string, std::string> hashes_;
};

// "; it differs at KEY (…)" of the run in a folder and a cell, where that is known.
std::string difference(const fs::path& folder, const Cell& cell) {
  const auto before = read_json_if_whole(folder / "config-in.json");
  if (!before) return "";
  for (const ChangedKey& d : changed_keys(*before, cell.config))
    if (d.key != "model.from")
      return "; it differs at " + d.key + " (" + d.before.dump() + " there, " + d.now.dump() + " here)";
  return "";
}

// A cell, if it is unfinished. Throws UsageError for a folder that holds something else.
std::optional<CellPlan> plan_cell(const Cell& cell, const fs::path& dir, DataHashes& data) {
  const fs::path folder = dir / cell.name;
  const auto identity = read_record(folder / "cell.json");
  if (identity && text_at(*identity, "hash") != cell.hash)
    throw UsageError(folder.string() + ": holds a run of another configuration" + difference(folder, cell) +
                     "; use another --out, or remove it");
  if (!identity && fs::exists(folder) && !fs::is_empty(folder))
    throw UsageError(folder.string() + ": holds files that are not this comparison's; use another --out");
  // Of an older version it does not say.
  if (const std::string before = identity ? text_at(*identity, "data_hash") : "";
      !before.empty() && !data.of(cell.config).empty() && before != data.of(cell.config))
    throw UsageError(folder.string() + ": holds a run of other data (SHA-256 " + before.substr(0, 12) +
                     "…, and data.dir holds " + data.of(cell.config).substr(0, 12) +
                     "… now); use another --out, or bring the data back");
  if (const std::string sum = identity ? text_at(*identity, "config_checksum") : "";
      !sum.empty() && checksum(read_whole(folder / "config-in.json")) != sum)
    throw RunError((folder / "config-in.json").string() +
                   ": was damaged or changed after it was written; remove the cell's folder to run it anew");
  if (identity && finished(folder)) return std::nullopt;
  return CellPlan{&cell, identity.has_value()};
}

struct Plan {
  std::optional<CellPlan> trunk;
  std::vector<CellPlan> pending;
  size_t skipped = 0;
};

Plan plan_cells(const Grid& grid, const fs::path& dir, DataHashes& data) {
  Plan plan;
  if (grid.trunk) plan.trunk = plan_cell(*grid.trunk, dir, data);
  if (grid.trunk && read_outcome(dir / kTrunk).state == CellOutcome::State::diverged)
    throw RunError((dir / kTrunk).string() + ": the trunk diverged, so that no cell can go on from it");
  for (const Cell& cell : grid.cells) {
    if (const auto one = plan_cell(cell, dir, data))
      plan.pending.push_back(*one);
    else
      ++plan.skipped;
  }
  return plan;
}

// What a cell trains. Where it goes on from the trunk, `in` is the comparison's folder; without it a stand-in to be
// checked before the trunk is trained: the trunk's own model under the cell's scales.
json runnable(const Grid& grid, const Cell& cell, const std::optional<fs::path>& in) {
  json config = cell.config;
  if (cell.trunk_step < 0) return config;
  json& model = config.at("model");
  if (in) {
    model["from"] = fs::absolute(*in / model.at("from").get<std::string>()).lexically_normal().string();
    return config;
  }
  for (const char* key : {"from", "from_sha256", "optimizer_state", "go_on", "exact", "ignore"}) model.erase(key);
  json stand_in = grid.trunk->config.value("model", json::object());
  stand_in.merge_patch(model);
  model = std::move(stand_in);
  return config;
}

// Has the program check one configuration per variant and setting of the cells that were never started, all in one
// process, since starting one takes longer than most checks.
void check_configurations(const Grid& grid, const fs::path& dir, const Plan& plan, const RunnerOptions& options,
                          const SignalGuard& signals) {
  std::vector<CellPlan> pending = plan.pending;
  if (plan.trunk) pending.insert(pending.begin(), *plan.trunk);
  const std::optional<fs::path> in = plan.trunk ? std::nullopt : std::optional(dir);
  const TemporaryFolder scratch(fs::temp_directory_path() / "scalevec-check-XXXXXX");
  std::set<std::pair<std::string, std::string>> seen;
  std::vector<const Cell*> cells;
  for (const auto& [cell, started] : pending)
    if (!started && seen.emplace(cell->variant, cell->setting.dump()).second) cells.push_back(cell);
  for (size_t first = 0; first < cells.size(); first += kChecksAtOnce) {
    const size_t count = std::min(kChecksAtOnce, cells.size() - first);
    std::vector<std::string> command{options.program.string(), "train"};
    for (size_t i = first; i < first + count; ++i) {
      command.push_back((scratch.path() / (std::to_string(i) + ".json")).string());
      write_file(command.back(), runnable(grid, *cells[i], in).dump(2));
    }
    command.push_back("--check");
    const fs::path log = scratch.path() / ("log" + std::to_string(first));
    const pid_t child = start_child(command, log);
    std::optional<ChildEnd> end;
    for (bool told = false; !(end = poll_child(child)); std::this_thread::sleep_for(std::chrono::milliseconds(5)))
      if (signals.first() && !told) {
        told = true;
        kill(child, SIGTERM);
      }
    if (signals.first()) return;
    if (!end->signal && !end->status) continue;
    size_t right = 0;
    std::istringstream lines(read_whole(log));
    for (std::string line; std::getline(lines, line);) right += line.starts_with("right: ");
    const std::string cell = "cell " + cells[first + std::min(right, count - 1)]->name + ": ";
    if (end->signal) throw RunError(cell + "the check of its configuration ended: " + reason_of(log, *end));
    std::string reason = reason_of(log, *end);
    for (std::size_t i = first; i < first + count; ++i)
      if (const std::string file = command[2 + i - first] + ": "; reason.starts_with(file))
        reason.erase(0, file.size());
    throw ConfigError(cell + reason);
  }
}

// plan_cells(), but a wrong value is the first thing to say: only then what the folder holds.
Plan plan_checked_cells(const Grid& grid, const fs::path& dir, DataHashes& data, const RunnerOptions& options,
                        const SignalGuard& signals) {
  Plan plan;
  try {
    if (!options.manifest.is_null()) refuse_foreign(dir, options.manifest);
    plan = plan_cells(grid, dir, data);
  } catch (const UsageError&) {
    Plan all;
    if (grid.trunk) all.trunk = CellPlan{&*grid.trunk, false};
    for (const Cell& cell : grid.cells) all.pending.push_back({&cell, false});
    check_configurations(grid, dir, all, options, signals);
    throw;
  }
  check_configurations(grid, dir, plan, options, signals);
  return plan;
}

// HOST-PID in the name says whose it is.
fs::path starting_pattern(const fs::path& dir) {
  return dir / (kStarting + host_name() + "-" + std::to_string(::getpid()) + "-XXXXXX");
}

// What a start that was killed left: of this machine's processes those that are gone, of others' what is an hour old.
void remove_stale_starts(const fs::path& dir) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(dir, ignored)) {
    const std::string name = entry.path().filename().string(), ours = kStarting + host_name() + "-";
    if (!name.starts_with(kStarting)) continue;
    const bool gone = name.starts_with(ours) &&
                      ::kill(static_cast<pid_t>(std::strtol(name.c_str() + ours.size(), nullptr, 10)), 0) != 0 &&
                      errno == ESRCH;
    const bool old =
        fs::last_write_time(entry.path(), ignored) < fs::file_time_type::clock::now() - std::chrono::hours(1);
    if (gone || old) fs::remove_all(entry.path(), ignored);
  }
}

// 0: one per core, and also where the configuration does not say.
std::int64_t threads_of(const json& config) {
  const json* threads = find_at(config, "threads");
  return threads && threads->is_number_integer() ? std::max<std::int64_t>(0, threads->get<std::int64_t>()) : 0;
}

// Everything in it appears at once, since another process may be starting the same cell: who comes second finds a
// folder with its cell.json and takes that.
void write_cell(const Grid& grid, const Cell& cell, const fs::path& dir, const RunnerOptions& options,
                const std::string& data_hash) {
  json config = runnable(grid, cell, dir);
  if (threads_of(config) == 0) config["threads"] = std::max(1, options.cores / options.jobs);
  json identity{{"variant", cell.variant},
                {"setting", cell.setting},
                {"seed", cell.seed},
                {"tuning", cell.tuning},
                {"hash", cell.hash}};
  if (!data_hash.empty()) identity["data_hash"] = data_hash;
  make_folder((dir / cell.name).parent_path());
  const TemporaryFolder scratch(starting_pattern(dir));
  const fs::path folder = scratch.path() / "cell";
  make_folder(folder);
  const std::string text = config.dump(2) + "\n";
  identity["config_checksum"] = checksum(text);
  write_record(folder / "cell.json", identity.dump(2) + "\n");
  write_file(folder / "config-in.json", text);
  std::error_code error;
  fs::rename(folder, dir / cell.name, error);
  if (error && !fs::exists(dir / cell.name / "cell.json"))
    throw RunError((dir / cell.name).string() + ": cannot be made: " + error.message());
}

// Prints where the comparison stands.
class Progress {
 public:
  Progress(const RunnerOptions& options, size_t total, size_t skipped)
      : options_(options), total_(total), skipped_(skipped), ended_(skipped) {}

  void cell_ended(const std::string& cell, const std::string& how, bool always) {
    ++ended_;
    if (!options_.progress || (options_.terminal && !always)) return;
    clear();
    *options_.progress << '[' << ended_ << '/' << total_ << "] " << cell << ": " << how << left() << std::endl;
  }

  void draw(size_t running, size_t failed) {
    if (!options_.progress || !options_.terminal || seconds_since(drawn_) < 0.2) return;
    drawn_ = Clock::now();
    clear();
    std::ostream& out = *options_.progress;
    out << ended_ << '/' << total_ << " cells, " << running << " running";
    if (failed) out << ", " << failed << " failed";
    out << left() << std::flush;
  }

  void clear() {
    if (options_.progress && options_.terminal) *options_.progress << "\r\033[K" << std::flush;
  }

 private:
  std::string left() const {
    if (ended_ == skipped_ || ended_ == total_) return "";
    const double rate = static_cast<double>(ended_ - skipped_) / seconds_since(start_);
    return ", about " + time_text(static_cast<double>(total_ - ended_) / rate) + " left";
  }

  const RunnerOptions& options_;
  size_t total_, skipped_, ended_;
  Clock::time_point start_ = Clock::now(), drawn_ = start_;
};

std::string result_text(const fs::path& folder, double seconds) {
  const json summary = read_record_if_sound(folder / "summary.json").value_or(json::object());
  if (text_at(summary, "status") == "diverged") return "diverged: " + text_at(summary, "reason", "no reason given");
  return printed("val loss %.4f (%s)", number_at(summary, "val_loss"), time_text(seconds).c_str());
}

// Who works on a cell that was busy a moment ago.
std::string busy_with(const fs::path& folder) {
  const std::string holder = lock_holder(folder);
  return holder.empty() ? "another process" : holder;
}

struct Running {
  pid_t child;
  const Cell* cell;
  std::int64_t threads;
  std::string gpu;  // empty: whichever it finds
  Clock::time_point start;
};

// Waits for the children that are left, however the caller is left.
struct RunningCells : std::vector<Running> {
  ~RunningCells() {
    for (const Running& r : *this) kill(r.child, SIGTERM);
    for (const Running& r : *this)
      while (!poll_child(r.child)) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }

  void start(const RunnerOptions& options, const fs::path& folder, const Cell& cell, std::int64_t threads) {
    const std::string config = (folder / "config-in.json").string(), gpu = next_gpu(options.gpus);
    std::vector<std::string> variables;
    if (!gpu.empty()) variables.push_back("CUDA_VISIBLE_DEVICES=" + gpu);
    push_back({start_child({options.program.string(), "train", config, "--out", folder.string(), "--resume"},
                           folder / "log.txt", variables),
               &cell, threads, gpu, Clock::now()});
  }

  // The first of those that have the fewest cells; empty unless there are several.
  std::string next_gpu(const std::vector<std::string>& gpus) const {
    if (gpus.size() < 2) return {};
    const auto cells = [&](const std::string& gpu) {
      return std::count_if(begin(), end(), [&](const Running& r) { return r.gpu == gpu; });
    };
    return *std::min_element(gpus.begin(), gpus.end(),
                             [&](const std::string& a, const std::string& b) { return cells(a) < cells(b); });
  }

  // The first signal ends them with a checkpoint, the next one at once.
  void pass_on(const SignalGuard& signals) {
    if (signals.count() <= passed_on) return;
    for (const Running& r : *this) kill(r.child, passed_on ? SIGKILL : SIGTERM);
    passed_on = signals.count();
  }

  // One that has ended since the last call, which is no longer among them.
  std::optional<std::pair<Running, ChildEnd>> take_ended() {
    for (auto it = begin(); it != end(); ++it)
      if (const auto how = poll_child(it->child)) {
        const std::pair ended(*it, *how);
        erase(it);
        return ended;
      }
    return std::nullopt;
  }

  int passed_on = 0;  // signals
};

// Trains the trunk, which the cells wait for, in one process with all cores; or waits while another process does. False
// if it is not finished, with the reason in `result` unless a signal is it.
bool train_trunk(const Grid& grid, const fs::path& dir, const RunnerOptions& options, const std::string& data_hash,
                 const SignalGuard& signals, RunnerResult& result) {
  const fs::path folder = dir / kTrunk;
  RunnerOptions alone = options;
  alone.jobs = 1;
  const auto say = [&](const std::string& how) {
    if (options.progress) *options.progress << kTrunk << ": " << how << std::endl;
  };
  const auto start = Clock::now();
  bool waiting = false;
  while (!finished(folder)) {
    if (!fs::exists(folder / "cell.json")) write_cell(grid, *grid.trunk, dir, alone, data_hash);
    RunningCells running;
    running.start(options, folder, *grid.trunk, 0);
    std::optional<std::pair<Running, ChildEnd>> ended;
    for (; !(ended = running.take_ended()); std::this_thread::sleep_for(std::chrono::milliseconds(20)))
      running.pass_on(signals);
    if (signals.first()) return false;
    if (finished(folder)) break;
    if (ended->second.status != kBusyStatus) {
      result.failed.emplace_back(kTrunk, reason_of(folder / "log.txt", ended->second));
      say("FAILED: " + result.failed.back().second);
      return false;
    }
    if (!waiting) say("waiting for " + busy_with(folder));
    waiting = true;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  const std::string how = result_text(folder, seconds_since(start));
  say(how);
  if (read_outcome(folder).state != CellOutcome::State::diverged) return true;
  result.failed.emplace_back(kTrunk, how);
  return false;
}

}  // namespace

void refuse_foreign(const fs::path& dir, const json& manifest) {
  std::error_code error;
  if (fs::exists(dir / "compare.json", error)) return;
  std::set<std::string> known{kTrunk, "report.html", "report.json", "report_files"};
  for (const json& cell : array_at(manifest, "cells")) known.insert(fs::path(text_at(cell, "name")).begin()->string());
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    const fs::path name = entry.path().filename();
    // Another process may have begun since: the comparison's own file is its first.
    if (!known.count(name.string()) && !is_side_file(name) && !fs::exists(dir / "compare.json", error))
      throw UsageError(dir.string() + ": holds " + name.string() +
                       ", which is not of this comparison; allowed: a new or empty folder, or that of a comparison");
  }
}

std::vector<Cell> unfinished_cells(const Grid& grid, const fs::path& dir, const RunnerOptions& options) {
  DataHashes data;
  const SignalGuard signals;
  const Plan plan = plan_checked_cells(grid, dir, data, options, signals);
  std::vector<Cell> cells;
  if (plan.trunk && !plan.pending.empty()) cells.push_back(*plan.trunk->cell);
  for (const CellPlan& pending : plan.pending) cells.push_back(*pending.cell);
  return cells;
}

void write_manifest(const fs::path& dir, const json& manifest) {
  make_folder(dir);
  remove_stale_starts(dir);
  if (const auto there = read_record_if_sound(dir / "compare.json"); there && *there == manifest) return;
  // By way of a folder of our own: other processes may be writing it at this moment.
  const TemporaryFolder scratch(starting_pattern(dir));
  write_record(scratch.path() / "compare.json", manifest.dump(2) + "\n");
  std::error_code error;
  fs::rename(scratch.path() / "compare.json", dir / "compare.json", error);
  if (error) throw RunError((dir / "compare.json").string() + ": cannot be written: " + error.message());
}

RunnerResult run_cells(const Grid& grid, const fs::path& dir, const RunnerOptions& options) {
  RunnerResult result;
  DataHashes data;
  const SignalGuard signals;
  const Plan plan = plan_checked_cells(grid, dir, data, options, signals);
  const std::vector<CellPlan>& pending = plan.pending;
  result.skipped = plan.skipped;
  if (!options.manifest.is_null() && !signals.first()) write_manifest(dir, options.manifest);
  if (plan.trunk && (!pending.empty() || grid.cells.empty()) && !signals.first() &&
      !train_trunk(grid, dir, options, data.of(grid.trunk->config), signals, result)) {
    result.signal = signals.first();
    return result;
  }

  Progress progress(options, grid.cells.size(), result.skipped);
  RunningCells running;
  size_t next = 0;
  while (!running.empty() || (next < pending.size() && !signals.first())) {
    running.pass_on(signals);
    while (!signals.first() && next < pending.size() && running.size() < static_cast<size_t>(options.jobs)) {
      const auto& [cell, started] = pending[next];
      const fs::path folder = dir / cell->name;
      if (!started && !fs::exists(folder / "cell.json")) write_cell(grid, *cell, dir, options, data.of(cell->config));
      const std::int64_t threads = threads_of(read_json_if_whole(folder / "config-in.json").value_or(json::object()));
      // Cells that ask for more threads together than there are cores wait for each other.
      std::int64_t busy = threads;
      for (const Running& r : running) busy += r.threads;
      if (!running.empty() && busy > options.cores) break;
      ++next;
      running.start(options, folder, *cell, threads);
    }
    while (const auto one = running.take_ended()) {
      const auto& [ended, end] = *one;
      const fs::path folder = dir / ended.cell->name;
      if (finished(folder)) {
        ++result.finished;
        progress.cell_ended(ended.cell->name, result_text(folder, seconds_since(ended.start)), false);
      } else if (end.status == kBusyStatus) {
        result.busy.push_back(ended.cell->name);
        progress.cell_ended(ended.cell->name, "left to " + busy_with(folder), false);
      } else if (!signals.first()) {
        const std::string reason = reason_of(folder / "log.txt", end);
        result.failed.emplace_back(ended.cell->name, reason);
        progress.cell_ended(ended.cell->name, "FAILED: " + reason, true);
      }
    }
    progress.draw(running.size(), result.failed.size());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  progress.clear();
  result.signal = signals.first();
  return result;
}

}  // namespace scalevec::experiments
