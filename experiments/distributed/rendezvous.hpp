#pragma once

#include <map>
#include <string>
#include <string_view>

// The rank of this process among those that a launcher started, read from the launcher's environment variables
// (docs/distributed.md).
namespace scalevec::experiments {

using Environment = std::map<std::string, std::string>;

struct Rendezvous {
  int rank = 0;
  int size = 1;
  int local_rank = 0;    // among the processes on this machine; selects the device
  int local_size = 0;    // number of processes on this machine; 0: not known
  std::string address;   // host name or number of rank 0; empty for one process
  int port = 0;          // port of the key-value store on that host
  bool serves = false;   // whether this process runs that store; false also if the launcher does (torchrun)
  std::string prefix;    // of our keys in the store, different after each restart by the launcher
  std::string launcher;  // "torchrun", "Open MPI", "PMI", "Slurm"; empty for one process without any
  std::string note;      // a line for the user if variables were found and deliberately not used
};

// Reads the first of these that is set:
//   RANK, WORLD_SIZE (torchrun, and by hand), LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT;
//   OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE (mpirun of Open MPI), PMIX_NAMESPACE for the port;
//   PMI_RANK, PMI_SIZE, MPI_LOCALRANKID (mpirun of MPICH and Intel);
//   SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID in a task of srun, with the first node of SLURM_STEP_NODELIST or
//   SLURM_JOB_NODELIST, or SLURM_LAUNCH_NODE_IPADDR, for the address. A batch script's own shell is one process.
// MASTER_ADDR and MASTER_PORT take precedence over what a launcher implies. If none is set, there is one process.
// Throws UsageError with one line if variables are incomplete, not numbers, or contradict each other.
Rendezvous read_rendezvous(const Environment& environment);

// Whether read_rendezvous() uses a launcher's variables only if this one is set. To start a process that trains alone,
// leave these variables out of its environment.
bool is_launcher_variable(std::string_view variable);

// The environment of this process.
Environment process_environment();

// The first host of a Slurm node list: "gpu[03-05,9],login1" gives "gpu03". Throws UsageError if it is malformed.
std::string first_host(const std::string& node_list);

}  // namespace scalevec::experiments
