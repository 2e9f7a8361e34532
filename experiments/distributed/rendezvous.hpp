#pragma once

#include <map>
#include <string>
#include <string_view>

// Who this process is among those that a launcher started, read from the launcher's environment variables.
namespace scalevec {

using Environment = std::map<std::string, std::string>;

struct Rendezvous {
  int rank = 0;
  int size = 1;
  int local_rank = 0;    // among the processes on this machine: which device is ours
  int local_size = 0;    // processes on this machine; 0: not known
  std::string address;   // where rank 0 is, as a name or number; empty for one process
  int port = 0;          // of the key-value store there
  bool serves = false;   // this process runs that store; false also where the launcher does (torchrun)
  std::string prefix;    // of our keys, so that an attempt after a restart does not read those of the one before
  std::string launcher;  // "torchrun", "Open MPI", "PMI", "Slurm"; empty for one process without any
  std::string note;      // a line for people where variables were seen and deliberately not followed
};

// Understands, the first that is there:
//   RANK, WORLD_SIZE (torchrun, and by hand), LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT;
//   OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE (mpirun of Open MPI), PMIX_NAMESPACE for the port;
//   PMI_RANK, PMI_SIZE, MPI_LOCALRANKID (mpirun of MPICH and Intel);
//   SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID in a task of srun, with the first node of SLURM_STEP_NODELIST or
//   SLURM_JOB_NODELIST, or SLURM_LAUNCH_NODE_IPADDR, for the address. A batch script's own shell is one process.
// MASTER_ADDR and MASTER_PORT win over what a launcher implies. Without any of these: one process.
// Throws UsageError with one line for variables that are incomplete, not numbers or contradict each other.
Rendezvous read_rendezvous(const Environment& environment);

// Whether without this variable a launcher's others would not be followed: a process that starts one of its own, which
// is to train alone, leaves it out of its environment.
bool says_who_is_who(std::string_view variable);

// The process's own.
Environment process_environment();

// The first host of a Slurm node list: "gpu[03-05,9],login1" gives "gpu03". Throws UsageError if it is malformed.
std::string first_host(const std::string& node_list);

}  // namespace scalevec
