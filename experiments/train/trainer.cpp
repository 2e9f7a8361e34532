#include "experiments/train/trainer.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "experiments/distributed/process_group.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/json_lines.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/record/run_events.hpp"
#include "experiments/runs/run_prediction.hpp"
#include "experiments/stored/stored_model.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/memory.hpp"
#include "experiments/train/checkpoint.hpp"
#include "experiments/train/policy_record.hpp"
#include "experiments/train/profiler.hpp"
#include "experiments/train/progress.hpp"
#include "experiments/train/run_counters.hpp"
#include "experiments/train/run_folder.hpp"
#include "experiments/train/session.hpp"
#include "experiments/train/stop_signal.hpp"
#include "experiments/train/trace_line.hpp"
#include "optim/config/checksum.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

class FolderTrainer : public Trainer {
 public:
  FolderTrainer(const RunConfig& config, const fs::path& out, std::int64_t profiled_steps,
                std::shared_ptr<ProcessGroup> group, std::vector<ChangedKey> changed)
      : config_(config),
        out_(out),
        changed_(std::move(changed)),
        group_(std::move(group)),
        profiled_steps_(writes() ? profiled_steps : 0),
        session_(config, group_),
        start_(Clock::now()),
        last_checkpoint_(start_) {}

  int run(bool resume) override {
    const bool begun = fs::exists(out_ / "config.json");
    auto busy = busy_with(group_.get());  // the folder may be slow
    if (writes() && !begun) write_config();
    if (writes()) write_policy();
    const bool resumed = resume && restore();
    // The configuration that a checkpoint was begun with stays.
    if (writes() && begun && !resumed) write_config();
    // Without a checkpoint nothing that was logged stands.
    const std::int64_t logged = resumed ? session_.steps_done() : -1;
    const std::int64_t from = session_.steps_done();
    if (writes()) open_logs(logged);
    profiler_ =
        std::make_unique<StepProfiler>(profiled_steps_, config_.steps - from, session_.phases(), out_ / "profile.json");
    busy.reset();
    Progress progress(from, config_.steps, !writes());
    if (from > 0 && resumed) progress.note("resumed after step " + std::to_string(from));
    std::optional<LongStepWatch> watch;
    gate_.close();
    checkpointed_ = from;
    if (stops_midway()) {
      session_.set_before_update([this] { gate_.close(); });
      watch.emplace([this, &progress] { stop_midway(progress); });
    }
    try {
      if (counters_.val_step < 0 && !resumed && config_.validation_every > 0) record_validation();
      while (session_.steps_done() < config_.steps) {
        if (agreed_stop() != 0) return interrupted(progress);
        profiler_->begin_step(session_.steps_done() + 1);
        make_step(progress);
        if (profiler_->end_step()) progress.note("profile of " + profiler_->words());
      }
      if (agreed_stop() != 0 && counters_.val_step != config_.steps) return interrupted(progress);
      if (counters_.val_step != config_.steps) record_validation();
    } catch (const Divergence& d) {
      return diverged(d, progress);
    }
    checkpoint();
    json summary = base_summary("done");
    summary["val_loss"] = counters_.val_loss;
    write_summary(summary);
    finish_profile(progress);
    progress.note("done: validation loss " + loss_text(counters_.val_loss) + ", " + out_.string());
    return 0;
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool writes() const { return !group_ || group_->rank() == 0; }

  // With several processes, what any of them was asked in the last step: they stop together.
  int agreed_stop() const { return group_ ? asked_to_stop_ : stop_signal(); }

  // False if there is no checkpoint.
  bool restore() {
    const auto busy = busy_with(group_.get());
    const json progress = writes() ? restore_latest(out_, session_) : json();
    if (!progress.is_null()) {
      counters_.from_json(progress);
      seconds_before_ = counters_.seconds;
      log_ends_ = progress.value("logs", json::object());
      changes_ = progress.value("changed_on_resume", json::array());
      check_data(text_at(progress, "data_hash"));
      note_changes(progress.value("made_by", json()));
    }
    session_.share_restored();
    if (group_) {  // every rank must know whether the last validation is made
      double step = writes() ? static_cast<double>(counters_.val_step) : 0.0;
      group_->sum({&step, 1});
      counters_.val_step = static_cast<std::int64_t>(step);
    }
    return !progress.is_null();
  }

  // Data that was changed between stop and resume has other windows in another order.
  void check_data(const std::string& before) {
    if (!session_.source()) return;
    if (before.empty()) {
      for (const ChangedKey& c : changed_)
        if (c.key == "data.dir")
          throw UsageError(out_.string() +
                           ": its checkpoint does not say which data it was trained on, and data.dir is " +
                           c.now.dump() + " where it was " + c.before.dump() + "; allowed: the same data.dir");
    } else if (const std::string now = session_.source()->data_hash(); now != before) {
      throw UsageError(out_.string() + ": the data is not what the run was trained on (SHA-256 " +
                       before.substr(0, 12) + "… at its checkpoint, " + now.substr(0, 12) +
                       "… now); allowed: the same tokens, or another --out");
    }
  }

  // `made_by`: what trained up to the checkpoint; null in one of an older version.
  void note_changes(const json& made_by) {
    for (const ChangedKey& c : changed_) {
      const json change = {{"step", session_.steps_done()}, {"key", c.key}, {"from", c.before}, {"to", c.now}};
      bool known = false;
      for (const json& said : changes_) known = known || (said.at("key") == c.key && said.at("to") == c.now);
      if (!known) changes_.push_back(change);
    }
    std::string others;
    for (const ChangedKey& c : changed_keys(made_by, made_by.is_object() ? made_by_now() : made_by)) {
      changes_.push_back({{"step", session_.steps_done()}, {"key", c.key}, {"from", c.before}, {"to", c.now}});
      others += (others.empty() ? "" : ", ") + c.key + " " + c.now.dump() + " (before: " + c.before.dump() + ")";
    }
    if (!others.empty())
      std::fprintf(stderr, "scalevec: %s goes on with %s; its bits may differ from those of a run without the stop\n",
                   out_.c_str(), others.c_str());
  }

  json made_by_now() const { return run_maker(session_, group_ ? group_->size() : 1); }

  json log_ends() const { return {{"metrics.jsonl", metrics_->checksum()}, {"traces.jsonl", traces_->checksum()}}; }

  void open_logs(std::int64_t logged) {
    if (log_ends_.contains("metrics.jsonl") && log_ends_.contains("traces.jsonl")) {
      metrics_ = std::make_unique<JsonLines>(out_ / "metrics.jsonl", text_at(log_ends_, "metrics.jsonl"));
      traces_ = std::make_unique<JsonLines>(out_ / "traces.jsonl", text_at(log_ends_, "traces.jsonl"));
      if (config_.tensorboard) events_ = std::make_unique<RunEvents>(out_ / "tensorboard", logged);
      return;
    }
    // A validation that the checkpoint does not know of is made again.
    const auto known = [this](const json& line) {
      return text_at(line, "kind") != "val" || line.at("step").get<std::int64_t>() <= counters_.val_step;
    };
    metrics_ = std::make_unique<JsonLines>(out_ / "metrics.jsonl", logged, known);
    traces_ = std::make_unique<JsonLines>(out_ / "traces.jsonl", logged);
    if (config_.tensorboard) events_ = std::make_unique<RunEvents>(out_ / "tensorboard", logged);
  }

  double elapsed() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  // Before a checkpoint is restored: the policy's record has the norms that the model starts with.
  void write_policy() {
    json policy = policy_json(config_, session_.model(), session_.policy(), session_.policy_rows());
    prediction_ = std::make_unique<RunPrediction>(config_.resolved, policy);
    if (config_.from) {
      policy["from"] = start_json(config_, session_.start());
      // What the model came with, so that an export of the run has it again.
      if (const fs::path source = session_.start().hugging_face; !source.empty()) {
        fs::create_directories(out_ / kHuggingFaceFolder);
        copy_companions(source, out_ / kHuggingFaceFolder, true);
      }
    }
    write_record(out_ / "policy.json", policy.dump(2) + "\n");
    policy_checksum_ = checksum(read_whole(out_ / "policy.json"));
  }

  // Before anything else in a new folder: a folder without it is not taken for this run's.
  void write_config() { write_file(out_ / "config.json", config_.resolved.dump(2) + "\n"); }

  void make_step(Progress& progress) {
    const std::int64_t number = session_.steps_done() + 1;
    const bool last = number == config_.steps;
    const auto due = [&](std::int64_t every) { return every > 0 && (number == 1 || number % every == 0 || last); };
    const bool trace = due(config_.traces_every), log = due(config_.log_every);
    const auto every = [&](std::int64_t n) { return n > 0 && number % n == 0; };
    const bool wait =
        log || last || every(config_.validation_every) || every(config_.checkpoint_every) || stop_signal() != 0;
    const double before = elapsed(), cpu_before = process_cpu_seconds();
    if (stops_midway()) gate_.open();
    StepResult result = session_.step(trace, stop_signal(), wait);
    asked_to_stop_ = result.stop_signal;
    const double step_seconds = elapsed() - before;
    counters_.training_seconds += step_seconds;
    counters_.cpu_seconds += process_cpu_seconds() - cpu_before;
    progress.count(session_.tokens_per_step(), step_seconds);
    ++logged_steps_;
    logged_seconds_ += step_seconds;
    if (!result.known) return;
    counters_.train_loss = result.loss;
    if (writes()) record(number, log, result);
    progress.update(number, result.loss, result.lr, result.grad_norm, session_.phases().seconds());
    if (config_.validation_every > 0 && number % config_.validation_every == 0) record_validation();
    if (!last && (every(config_.checkpoint_every) || minutes_are_over(number))) checkpoint();
  }

  // With several processes rank 0's clock is everyone's, asked now and then.
  bool minutes_are_over(std::int64_t number) {
    constexpr std::int64_t kAsked = 16;
    if (config_.checkpoint_minutes <= 0.0 || (group_ && number % kAsked != 0)) return false;
    const double since = std::chrono::duration<double>(Clock::now() - last_checkpoint_).count();
    double over = since >= 60.0 * config_.checkpoint_minutes ? 1.0 : 0.0;
    if (!group_) return over > 0.0;
    if (!writes()) over = 0.0;
    group_->sum({&over, 1});
    return over > 0.0;
  }

  // Whether the run's state is whole in the middle of a step: what a forward pass changes is in buffers, and a device
  // or other processes would have to be waited for.
  bool stops_midway() const {
    return !group_ && session_.device().is_cpu() && session_.model().named_buffers().is_empty();
  }

  // From the watch's thread. Does not come back where the step can be given up.
  void stop_midway(Progress& progress) {
    if (!gate_.try_pass()) return;
    try {
      if (session_.steps_done() > checkpointed_) checkpoint();
      write_summary(base_summary("interrupted"));
      progress.note("interrupted in step " + std::to_string(session_.steps_done() + 1) +
                    ", which took long; --resume continues " + out_.string());
    } catch (const std::exception& e) {
      std::fprintf(stderr, "scalevec: %s\n", e.what());
    }
    std::fflush(stdout);
    ::_exit(128 + stop_signal());
  }

  void record(std::int64_t number, bool log, StepResult& result) {
    const auto busy = busy_with(group_.get());
    const auto timed = session_.phases().scope(Phase::log);
    if (log) {
      // Of all steps since the line before.
      const double rate = static_cast<double>(session_.tokens_per_step() * std::exchange(logged_steps_, 0)) /
                          std::exchange(logged_seconds_, 0.0);
      json line = {{"kind", "train"},
                   {"step", number},
                   {"tokens", number * session_.tokens_per_step()},
                   {"loss", result.loss},
                   {"lr", result.lr},
                   {"grad_norm", result.grad_norm},
                   {"clip_factor", result.clip_factor},
                   {"tokens_per_second", rate},
                   {"seconds", seconds_before_ + elapsed()}};
      if (!std::isnan(result.balance_loss)) line["balance_loss"] = result.balance_loss;
      metrics_->append(line);
      if (events_) events_->training(number, {result.loss, result.lr, result.grad_norm, result.clip_factor, rate});
    }
    for (StepTraces& earlier : result.earlier) record_traces(earlier);
    if (!result.params.empty()) {
      StepTraces now{number, std::move(result.params), std::move(result.groups)};
      record_traces(now);
    }
  }

  void record_traces(StepTraces& traces) {
    prediction_->merge_into(traces.step, traces.params, traces.groups);
    traces_->append_line(trace_line(traces.step, traces.params, traces.groups));
    if (events_) events_->traces(traces.step, traces.params, traces.groups);
  }

  // Of steps that did not wait for the device, where the run ends before one that does.
  void record_left_traces() {
    for (StepTraces& left : session_.take_traces())
      if (writes()) record_traces(left);
  }

  double validate() {
    const auto timed = session_.phases().scope(Phase::validation);
    return session_.validate();
  }

  // Throws Divergence for a loss that is not finite: the last step may have been one too many.
  double record_validation() {
    if (stops_midway()) gate_.open();
    const double loss = validate();
    gate_.close();
    if (!std::isfinite(loss))
      throw Divergence{session_.steps_done(), "",
                       "after step " + std::to_string(session_.steps_done()) + " the validation loss is not finite"};
    counters_.best_val_loss = std::min(counters_.best_val_loss, loss);
    counters_.val_step = session_.steps_done();
    counters_.val_loss = loss;
    if (!writes()) return loss;
    const auto busy = busy_with(group_.get());
    metrics_->append({{"kind", "val"},
                      {"step", session_.steps_done()},
                      {"tokens", session_.steps_done() * session_.tokens_per_step()},
                      {"loss", loss}});
    if (events_) events_->validation(session_.steps_done(), loss);
    return loss;
  }

  void checkpoint() {
    const auto timed = session_.phases().scope(Phase::checkpoint);
    session_.check_data_unchanged();
    const models::NamedTensors average = session_.average_weights(), state = session_.optimizer_state();
    last_checkpoint_ = Clock::now();
    checkpointed_ = session_.steps_done();
    if (!writes()) return;
    const auto busy = busy_with(group_.get());
    metrics_->sync();
    traces_->sync();
    counters_.seconds = seconds_before_ + elapsed();
    json progress = counters_.to_json();
    progress["logs"] = log_ends();
    progress["policy"] = policy_checksum_;
    progress["made_by"] = made_by_now();
    if (session_.source()) progress["data_hash"] = session_.source()->data_hash();
    if (!changes_.empty()) progress["changed_on_resume"] = changes_;
    write_checkpoint(out_, session_, average, state, config_.resolved, progress, config_.checkpoint_keep);
  }

  // A run that ends before the steps to profile are made leaves a profile of those it made.
  void finish_profile(Progress& progress) {
    if (profiler_->finish()) progress.note("profile of " + profiler_->words());
  }

  int interrupted(Progress& progress) {
    record_left_traces();
    checkpoint();
    finish_profile(progress);
    write_summary(base_summary("interrupted"));
    progress.note("interrupted after step " + std::to_string(session_.steps_done()) + "; --resume continues " +
                  out_.string());
    return 128 + agreed_stop();
  }

  int diverged(const Divergence& d, Progress& progress) {
    record_left_traces();
    if (writes())
      metrics_->append({{"kind", "diverged"}, {"step", d.step}, {"parameter", d.parameter}, {"reason", d.reason}});
    json summary = base_summary("diverged");
    summary["reason"] = d.reason;
    summary["diverged_at"] = d.step;
    summary["parameter"] = d.parameter;
    write_summary(summary);
    finish_profile(progress);
    progress.note("stopped: " + d.reason);
    return 1;
  }

  json base_summary(const char* status) const {
    if (!writes()) return {};
    const auto busy = busy_with(group_.get());  // the data's hash may take long
    json out = run_summary(status, session_, counters_, seconds_before_ + elapsed(), group_ ? group_->size() : 1);
    out["logs"] = log_ends();
    out["policy"] = policy_checksum_;
    if (!changes_.empty()) out["changed_on_resume"] = changes_;
    return out;
  }

  void write_summary(const json& summary) const {
    if (writes()) write_record(out_ / "summary.json", summary.dump(2) + "\n");
  }

  const RunConfig& config_;
  const fs::path out_;
  const std::vector<ChangedKey> changed_;  // on this resume
  std::string policy_checksum_;            // of policy.json
  json log_ends_ = json::object();         // at the checkpoint that was restored
  json changes_ = json::array();           // on all resumes, for the record
  const std::shared_ptr<ProcessGroup> group_;
  const std::int64_t profiled_steps_;
  Session session_;
  Clock::time_point start_;
  double seconds_before_ = 0.0;
  RunCounters counters_;
  int asked_to_stop_ = 0;
  std::int64_t logged_steps_ = 0;  // since the last line of metrics.jsonl
  double logged_seconds_ = 0.0;
  Clock::time_point last_checkpoint_;
  std::int64_t checkpointed_ = 0;  // the step of the newest checkpoint
  StateGate gate_;
  std::unique_ptr<JsonLines> metrics_, traces_;
  std::unique_ptr<RunEvents> events_;  // null: not asked for
  std::unique_ptr<RunPrediction> prediction_;
  std::unique_ptr<StepProfiler> profiler_;
};

}  // namespace

std::unique_ptr<Trainer> make_trainer(const RunConfig& config, const fs::path& out, std::int64_t profiled_steps,
                                      std::shared_ptr<ProcessGroup> group, std::vector<ChangedKey> changed) {
  return std::make_unique<FolderTrainer>(config, out, profiled_steps, std::move(group), std::move(changed));
}

}  // namespace scalevec::experiments
