#include "experiments/distributed/rendezvous.hpp"

#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

#include "experiments/errors.hpp"

namespace scalevec::experiments {
namespace {

constexpr int kMaxProcesses = 1 << 20;

std::optional<std::string> find(const Environment& environment, const std::string& name) {
  const auto it = environment.find(name);
  if (it == environment.end() || it->second.empty()) return std::nullopt;
  return it->second;
}

int number(const std::string& name, const std::string& text, int low, int high) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
    throw UsageError("environment: " + name + ": got \"" + text + "\"; allowed: a whole number from " +
                     std::to_string(low) + " to " + std::to_string(high));
  return value;
}

std::optional<int> find_number(const Environment& environment, const std::string& name, int low, int high) {
  const auto text = find(environment, name);
  if (!text) return std::nullopt;
  return number(name, *text, low, high);
}

// The variables of one launcher.
struct Family {
  const char* launcher;
  const char *rank, *size, *local_rank, *local_size;
};
constexpr Family kFamilies[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
    {"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", nullptr},
};

// Slurm gives a batch script's shell the variables of a task too; only srun gives these.
bool task_of_srun(const Environment& environment) {
  for (const char* name :
       {"SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS", "SLURM_LAUNCH_NODE_IPADDR", "SLURM_SRUN_COMM_PORT"})
    if (find(environment, name)) return true;
  return false;
}

// Two jobs on one machine must not meet at one port: it follows from the job's identity. Below Linux's ephemeral range.
int port_of(const std::string& job) {
  std::uint32_t hash = 2166136261u;
  for (const char c : job) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return 15000 + static_cast<int>(hash % 15000u);
}

void read_family(const Environment& environment, const Family& family, Rendezvous& out) {
  const auto rank = find(environment, family.rank), size = find(environment, family.size);
  if (!rank || !size)
    throw UsageError(std::string("environment: ") + (rank ? family.rank : family.size) + " is set and " +
                     (rank ? family.size : family.rank) + " is not; allowed: both, or neither for one process");
  out.launcher = family.launcher;
  out.size = number(family.size, *size, 1, kMaxProcesses);
  out.rank = number(family.rank, *rank, 0, kMaxProcesses);
  if (out.rank >= out.size)
    throw UsageError(std::string("environment: ") + family.rank + " is " + *rank + " and " + family.size + " is " +
                     *size + "; allowed: a rank from 0 to " + std::to_string(out.size - 1));
  if (family.local_size) out.local_size = find_number(environment, family.local_size, 1, kMaxProcesses).value_or(0);
  out.local_rank = find_number(environment, family.local_rank, 0, kMaxProcesses).value_or(0);
  if (out.local_size > out.size || (out.local_size > 0 && out.local_rank >= out.local_size))
    throw UsageError(std::string("environment: ") + family.local_rank + " is " + std::to_string(out.local_rank) +
                     " and " + family.local_size + " is " + std::to_string(out.local_size) + " of " + *size +
                     " processes; allowed: a local rank below the local size, which is at most the size");
}

// Where rank 0 is, as the launcher implies it; empty if it does not.
std::string implied_address(const Environment& environment, const Rendezvous& r) {
  if (r.local_size == r.size) return "127.0.0.1";
  if (r.launcher != "Slurm") return {};
  for (const char* name : {"SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"})
    if (const auto nodes = find_number(environment, name, 1, kMaxProcesses)) {
      if (*nodes == 1) return "127.0.0.1";
      break;
    }
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"})
    if (const auto list = find(environment, name)) return first_host(*list);
  return find(environment, "SLURM_LAUNCH_NODE_IPADDR").value_or("");
}

int implied_port(const Environment& environment, const Rendezvous& r) {
  std::string job;
  for (const char* name : {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_ID", "SLURM_JOB_ID", "SLURM_STEP_ID"})
    if (const auto value = find(environment, name)) job += *value + ".";
  return job.empty() || r.launcher == "torchrun" ? 29500 : port_of(job);
}

}  // namespace

std::string first_host(const std::string& list) {
  const auto malformed = [&] {
    return UsageError("environment: a Slurm node list is \"" + list +
                      "\"; allowed: names like node1,node2 or node[01-04,7]");
  };
  const size_t end = list.find_first_of(",[");
  std::string host = list.substr(0, end);
  if (end != std::string::npos && list[end] == '[') {
    const size_t close = list.find(']', end);
    if (close == std::string::npos) throw malformed();
    host += list.substr(end + 1, list.find_first_of(",-]", end) - end - 1);
    // "rack[1-2]node[1-4]": brackets may follow brackets.
    if (close + 1 < list.size() && list[close + 1] != ',') host += first_host(list.substr(close + 1));
  }
  if (host.empty()) throw malformed();
  return host;
}

Rendezvous read_rendezvous(const Environment& environment) {
  Rendezvous r;
  for (const Family& family : kFamilies) {
    const bool slurm = std::string_view(family.launcher) == "Slurm";
    const auto rank = find(environment, family.rank), size = find(environment, family.size);
    // srun's own PMI plugin sets PMI's variables without the local ones, which Slurm's have; an mpirun sets them.
    if (std::string_view(family.launcher) == "PMI" && !find(environment, family.local_rank) &&
        task_of_srun(environment) && find(environment, "SLURM_PROCID"))
      continue;
    // A job's shell has SLURM_NTASKS alone.
    if (slurm ? !rank : !rank && !size) continue;
    if (slurm && !task_of_srun(environment)) {
      if (size && *size != "1")
        r.note = "SLURM_NTASKS is " + *size + " but srun did not start this process: it trains alone";
      continue;
    }
    read_family(environment, family, r);
    break;
  }
  if (r.size == 1) return r;
  r.note.clear();
  r.address = find(environment, "MASTER_ADDR").value_or(implied_address(environment, r));
  if (r.address.empty())
    throw UsageError("environment: MASTER_ADDR is not set, and " + r.launcher + " does not say where rank 0 of " +
                     std::to_string(r.size) + " is; allowed: its name or number");
  r.port = find_number(environment, "MASTER_PORT", 1, 65535).value_or(implied_port(environment, r));
  const bool launcher_serves = find(environment, "TORCHELASTIC_USE_AGENT_STORE") == "True";
  r.serves = r.rank == 0 && !launcher_serves;
  r.prefix = "scalevec/" + find(environment, "TORCHELASTIC_RESTART_COUNT").value_or("0");
  return r;
}

bool is_launcher_variable(std::string_view variable) {
  for (const Family& family : kFamilies)
    if (variable == family.rank || (std::string_view(family.launcher) != "Slurm" && variable == family.size))
      return true;
  return false;
}

Environment process_environment() {
  Environment out;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    if (const size_t equals = text.find('='); equals != std::string::npos)
      out[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return out;
}

}  // namespace scalevec::experiments
