#include "experiments/train/run_counters.hpp"

#include <ATen/Parallel.h>
#include <sys/resource.h>
#include <time.h>
#include <torch/version.h>

#include <cmath>

#include "experiments/record/build_info.hpp"
#include "optim/core/instruction_set.hpp"

namespace scalevec::experiments {

using nlohmann::json;

namespace {

// The largest resident size of this process so far; of a resumed run, since it was resumed.
std::int64_t peak_memory_bytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace

double process_cpu_seconds() {
  struct timespec now {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

json RunCounters::to_json() const {
  return {{"training_seconds", training_seconds},
          {"cpu_seconds", cpu_seconds},
          {"seconds", seconds},
          {"train_loss", train_loss},
          {"best_val_loss", std::isfinite(best_val_loss) ? json(best_val_loss) : json()},
          {"val_step", val_step},
          {"val_loss", val_loss}};
}

void RunCounters::from_json(const json& j) {
  training_seconds = j.at("training_seconds");
  cpu_seconds = j.contains("cpu_seconds") && j["cpu_seconds"].is_number() ? j["cpu_seconds"].get<double>() : kNoTrace;
  seconds = j.at("seconds");
  if (j.at("train_loss").is_number()) train_loss = j.at("train_loss");
  if (j.at("best_val_loss").is_number()) best_val_loss = j.at("best_val_loss");
  // A checkpoint of an older version does not say: every validation up to it stands.
  val_step = j.value("val_step", std::numeric_limits<std::int64_t>::max());
  if (j.contains("val_loss") && j.at("val_loss").is_number()) val_loss = j.at("val_loss");
}

json run_maker(const Session& session, int processes) {
  return {{"device", session.device().str()},
          {"threads", at::get_num_threads()},
          {"processes", processes},
          {"git_commit", build_info::git_commit()},
          {"machine", build_info::machine()},
          {"versions",
           {{"scalevec", build_info::version()},
            {"libtorch", TORCH_VERSION},
            {"compiler", build_info::compiler()},
            {"kernels", instruction_set()}}}};
}

json run_summary(const char* status, const Session& session, const RunCounters& counters, double seconds,
                 int processes) {
  std::int64_t parameters = 0, scales = 0;
  for (const NamedParam& p : session.params()) {
    parameters += p.tensor.numel();
    if (p.role.kind == ParamKind::scale) scales += p.tensor.numel();
  }
  const auto tokens = session.steps_done() * session.tokens_per_step();
  json out = {{"status", status},
              {"steps", session.steps_done()},
              {"tokens", tokens},
              {"train_loss", counters.train_loss},
              {"seconds", seconds},
              {"training_seconds", counters.training_seconds},
              {"cpu_seconds", counters.cpu_seconds},
              {"parameters", parameters},
              {"scale_parameters", scales},
              {"seed", session.config().seed},
              {"peak_memory_bytes", peak_memory_bytes()}};
  out.update(run_maker(session, processes));
  if (tokens > 0 && counters.training_seconds > 0)
    out["tokens_per_second"] = static_cast<double>(tokens) / counters.training_seconds;
  if (std::isfinite(counters.best_val_loss)) out["best_val_loss"] = counters.best_val_loss;
  if (session.source()) {
    out["data"] = session.source()->describe();
    out["data_hash"] = session.source()->data_hash();
  }
  return out;
}

}  // namespace scalevec::experiments
