#include "experiments/train/train.hpp"

#include <ATen/Parallel.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <utility>

#include "experiments/distributed/process_group.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/record/run_lock.hpp"
#include "experiments/system/memory.hpp"
#include "experiments/train/run_folder.hpp"
#include "experiments/train/session.hpp"
#include "experiments/train/stop_signal.hpp"
#include "experiments/train/trainer.hpp"

namespace scalevec::experiments {
namespace {

// Says which keys decide how much memory `work` takes, where there is none left, and how to go on after a GPU failed.
template <class Work>
auto with_memory(const std::string& what, const Work& work) {
  try {
    return work();
  } catch (const std::exception& e) {
    if (const auto none = out_of_memory(e)) throw RunError(*none + ", " + what);
    if (const auto failed = gpu_failed(e))
      throw RunError(*failed + "; --resume continues from the newest checkpoint, in a new process");
    throw;
  }
}

}  // namespace

int train(const RunConfig& config, const std::filesystem::path& out, bool resume, std::int64_t profiled_steps,
          std::shared_ptr<ProcessGroup> group) {
  const bool first = !group || group->rank() == 0;
  enum Word { kTrain, kDone, kBusy };
  // Rank 0 alone knows the folder: its word is everyone's.
  const auto agree = [&](Word word) {
    double value = first ? static_cast<double>(word) : 0.0;
    if (group) group->sum({&value, 1});
    return static_cast<Word>(value);
  };
  std::vector<ChangedKey> changed;
  const auto done_already = [&] {
    changed = claim_folder(config, out, resume);
    // One that is empty or damaged says nothing: the run goes on from its newest checkpoint.
    const nlohmann::json summary = read_record_if_sound(out / "summary.json").value_or(nlohmann::json());
    if (!resume || text_at(summary, "status") != "done") return kTrain;
    // Another run's summary is whole in itself.
    if (const std::string damage = damage_of_run(out, summary); !damage.empty())
      throw RunError((out / damage).string());
    std::printf("%s is done already\n", out.c_str());
    return kDone;
  };
  const auto end = [&](int status) {
    if (group) group->finish();
    return status;
  };
  try {
    if (agree(first ? done_already() : kTrain) == kDone) return end(0);
  } catch (const UsageError&) {
    const Session session(config);  // a wrong value is the first thing to say
    static_cast<void>(session);
    throw;
  }
  if (config.threads > 0) at::set_num_threads(config.threads);
  // Everything that can be wrong with the input is found here, before the folder exists.
  auto busy = busy_with(group.get());
  const auto trainer = with_memory(
      "for the model and the optimizer's state; less is needed with fewer model.layers or a "
      "smaller model.width or model.vocab_size",
      [&] { return make_trainer(config, out, profiled_steps, group, std::move(changed)); });
  std::optional<RunLock> lock;
  Word word = kTrain;
  if (first) {
    std::error_code ec;
    std::filesystem::create_directories(out, ec);
    if (ec) throw UsageError(out.string() + ": cannot be made: " + ec.message());
    // A comparison that was killed leaves cells that write their checkpoint before they end: a resume waits for them.
    lock.emplace(out, resume ? std::chrono::seconds(5) : std::chrono::seconds(0));
    if (!lock->held()) {
      std::fprintf(stderr, "scalevec: %s: %s is at work on it; left to it\n", out.c_str(), lock_holder(out).c_str());
      word = kBusy;
    } else {
      word = done_already();  // another process may have had the lock before
    }
  }
  busy.reset();
  word = agree(word);
  if (word != kTrain) return end(word == kBusy ? kBusyStatus : 0);
  install_signal_handlers();
  const std::int64_t rows = config.batch_size / config.accumulation;
  return end(with_memory("with batch_size / accumulation = " + std::to_string(rows) + " sequences of " +
                             std::to_string(config.sequence_length) +
                             " at once; less is needed with a larger accumulation, or a smaller batch_size, "
                             "sequence_length or model",
                         [&] { return trainer->run(resume); }));
}

}  // namespace scalevec::experiments
