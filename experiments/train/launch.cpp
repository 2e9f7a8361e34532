#include "experiments/train/launch.hpp"

#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "experiments/errors.hpp"
#include "experiments/system/sha256.hpp"
#include "experiments/train/session.hpp"

namespace scalevec::experiments {

std::string parallel_error(const RunConfig& config, int processes) {
  const std::string count = std::to_string(processes) + " processes";
  if (!config.decoder)
    return "model.type: a toy model trains in one process, and here are " + count +
           "; allowed: decoder, or one process";
  if (config.batch_size % (config.accumulation * processes) != 0)
    return "batch_size: got " + std::to_string(config.batch_size) + " for " + count + " of " +
           std::to_string(config.accumulation) + " micro-batches; allowed: a multiple of " +
           std::to_string(config.accumulation * processes);
  if (config.snr)
    return "log.snr: got true with " + count + ", none of which holds every gradient; allowed there: false";
  return {};
}

namespace {

// What every rank must have alike. Where the data lies may differ from machine to machine, and so may the threads.
std::string identity_of(const RunConfig& config) {
  nlohmann::json shared = config.resolved;
  shared.erase("threads");
  if (!config.data_dir.empty()) {
    const std::filesystem::path record = std::filesystem::path(config.data_dir) / "data.json";
    shared["data"]["dir"] = std::filesystem::exists(record) ? sha256_file(record) : "";
  }
  return sha256(shared.dump());
}

}  // namespace

std::shared_ptr<ProcessGroup> join_launched(const RunConfig& config, double timeout) {
  const Rendezvous r = read_rendezvous(process_environment());
  if (!r.note.empty()) std::fprintf(stderr, "scalevec: %s\n", r.note.c_str());
  if (r.size == 1) return nullptr;
  if (const std::string error = parallel_error(config, r.size); !error.empty()) throw UsageError(error);
  const torch::Device device = choose_device(config);
  if (device.is_cuda()) {
    const c10::impl::VirtualGuardImpl gpus(torch::kCUDA);
    if (r.local_rank >= gpus.deviceCount())
      throw UsageError("process " + std::to_string(r.local_rank) + " of this machine has no GPU of its own; allowed: " +
                       std::to_string(gpus.deviceCount()) + " processes here, one for each, or \"device\": \"cpu\"");
    gpus.setDevice({torch::kCUDA, static_cast<torch::DeviceIndex>(r.local_rank)});
  }
  if (config.threads == 0 && r.local_size > 1 && !std::getenv("OMP_NUM_THREADS"))
    at::set_num_threads(std::max(1, at::get_num_threads() / r.local_size));
  return ProcessGroup::join(r, device, timeout, identity_of(config));
}

}  // namespace scalevec::experiments
