#include "experiments/distributed/rendezvous.hpp"
#include "experiments/errors.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

namespace {

std::string refusal(const Environment& environment) {
  return message_of([&] { read_rendezvous(environment); });
}

}  // namespace

TEST_CASE("without a launcher's variables there is one process") {
  const Rendezvous r = read_rendezvous({{"HOME", "/root"}, {"MASTER_ADDR", "somewhere"}, {"RANK", ""}});
  CHECK(r.size == 1);
  CHECK(r.rank == 0);
  CHECK(r.address.empty());
  CHECK(r.note.empty());
}

TEST_CASE("torchrun's variables: its agent has the store, and a restart reads other keys") {
  Environment e{{"RANK", "3"},          {"WORLD_SIZE", "4"},     {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"},
                {"MASTER_ADDR", "n01"}, {"MASTER_PORT", "29511"}};
  Rendezvous r = read_rendezvous(e);
  CHECK(r.rank == 3);
  CHECK(r.size == 4);
  CHECK(r.local_rank == 1);
  CHECK(r.local_size == 2);
  CHECK(r.address == "n01");
  CHECK(r.port == 29511);
  CHECK(!r.serves);
  e["RANK"] = "0";
  e["LOCAL_RANK"] = "0";
  CHECK(read_rendezvous(e).serves);
  const std::string first = read_rendezvous(e).prefix;
  e["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  e["TORCHELASTIC_RESTART_COUNT"] = "1";
  CHECK(!read_rendezvous(e).serves);
  CHECK(read_rendezvous(e).prefix != first);
}

TEST_CASE("Open MPI's variables: one machine needs no address, and two jobs on it take two ports") {
  Environment e{{"OMPI_COMM_WORLD_RANK", "1"},
                {"OMPI_COMM_WORLD_SIZE", "2"},
                {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                {"PMIX_NAMESPACE", "3409379329"}};
  const Rendezvous r = read_rendezvous(e);
  CHECK(r.rank == 1);
  CHECK(r.size == 2);
  CHECK(r.address == "127.0.0.1");
  CHECK(r.port >= 1024);
  e["PMIX_NAMESPACE"] = "3409379330";
  CHECK(read_rendezvous(e).port != r.port);
  e["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1";
  e["OMPI_COMM_WORLD_LOCAL_RANK"] = "0";
  CHECK(refusal(e).find("MASTER_ADDR is not set, and Open MPI does not say where rank 0 of 2 is") != std::string::npos);
  e["MASTER_ADDR"] = "10.0.0.7";
  e["MASTER_PORT"] = "4000";
  CHECK(read_rendezvous(e).address == "10.0.0.7");
  CHECK(read_rendezvous(e).port == 4000);
}

TEST_CASE("MPICH's variables") {
  const Rendezvous r =
      read_rendezvous({{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}, {"MPI_LOCALRANKID", "2"}, {"MPI_LOCALNRANKS", "3"}});
  CHECK(r.rank == 2);
  CHECK(r.size == 3);
  CHECK(r.address == "127.0.0.1");
}

TEST_CASE("Slurm's variables: rank 0 is on the first node of the step") {
  Environment e{{"SLURM_PROCID", "5"},         {"SLURM_NTASKS", "8"},
                {"SLURM_LOCALID", "1"},        {"SLURM_STEP_ID", "0"},
                {"SLURM_JOB_ID", "4711"},      {"SLURM_STEP_NODELIST", "gpu[03-04,09]"},
                {"SLURM_STEP_NUM_NODES", "3"}, {"SLURM_LAUNCH_NODE_IPADDR", "10.1.1.1"}};
  const Rendezvous r = read_rendezvous(e);
  CHECK(r.rank == 5);
  CHECK(r.size == 8);
  CHECK(r.local_rank == 1);
  CHECK(r.address == "gpu03");
  e["SLURM_JOB_ID"] = "4712";
  CHECK(read_rendezvous(e).port != r.port);
  e.erase("SLURM_STEP_NODELIST");
  CHECK(read_rendezvous(e).address == "10.1.1.1");
  e["SLURM_STEP_NUM_NODES"] = "1";
  CHECK(read_rendezvous(e).address == "127.0.0.1");
}

TEST_CASE("srun with its PMI plugin is Slurm: PMI's variables name no local rank") {
  Environment e{{"SLURM_PROCID", "5"},  {"SLURM_NTASKS", "8"},  {"SLURM_LOCALID", "1"},
                {"SLURM_STEP_ID", "0"}, {"SLURM_JOB_ID", "47"}, {"SLURM_STEP_NODELIST", "n[1-4]"},
                {"PMI_RANK", "5"},      {"PMI_SIZE", "8"}};
  CHECK(read_rendezvous(e).launcher == "Slurm");
  CHECK(read_rendezvous(e).local_rank == 1);
  CHECK(read_rendezvous(e).address == "n1");
  // mpirun of Intel's or MPICH inside the job gives them.
  e.insert({{"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "8"}});
  CHECK(read_rendezvous(e).launcher == "PMI");
}

TEST_CASE("a process without the variables that say who is who trains alone") {
  Environment e{{"RANK", "1"},
                {"WORLD_SIZE", "2"},
                {"LOCAL_RANK", "1"},
                {"MASTER_ADDR", "n1"},
                {"OMPI_COMM_WORLD_RANK", "1"},
                {"OMPI_COMM_WORLD_SIZE", "2"},
                {"PMI_RANK", "1"},
                {"PMI_SIZE", "2"},
                {"SLURM_PROCID", "1"},
                {"SLURM_NTASKS", "2"},
                {"SLURM_STEP_ID", "0"}};
  CHECK(read_rendezvous(e).size == 2);
  std::erase_if(e, [](const auto& variable) { return is_launcher_variable(variable.first); });
  CHECK(e.size() == 4);
  CHECK(read_rendezvous(e).size == 1);
}

TEST_CASE("the shell of a Slurm batch script is one process and says so") {
  const Environment e{
      {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "0"}, {"SLURM_JOB_NODELIST", "gpu01"}};
  CHECK(read_rendezvous(e).size == 1);
  CHECK(read_rendezvous(e).note.find("srun did not start") != std::string::npos);
  CHECK(read_rendezvous({{"SLURM_NTASKS", "8"}}).size == 1);
}

TEST_CASE("a launcher inside a Slurm job wins over the batch shell's variables") {
  Environment e{{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}, {"SLURM_STEP_ID", "0"}};
  e.insert({{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "n01"}, {"MASTER_PORT", "1234"}});
  CHECK(read_rendezvous(e).rank == 3);
}

TEST_CASE("variables that are incomplete or contradict each other are refused by name") {
  CHECK(refusal({{"RANK", "0"}}).find("RANK is set and WORLD_SIZE is not") != std::string::npos);
  CHECK(refusal({{"WORLD_SIZE", "2"}}).find("WORLD_SIZE is set and RANK is not") != std::string::npos);
  CHECK(refusal({{"OMPI_COMM_WORLD_RANK", "0"}}).find("OMPI_COMM_WORLD_SIZE is not") != std::string::npos);
  CHECK(refusal({{"SLURM_PROCID", "0"}, {"SLURM_STEP_ID", "0"}}).find("SLURM_NTASKS is not") != std::string::npos);
  CHECK(refusal({{"RANK", "2"}, {"WORLD_SIZE", "2"}})
            .find("RANK is 2 and WORLD_SIZE is 2; allowed: a rank from 0 to 1") != std::string::npos);
  CHECK(refusal({{"RANK", "one"}, {"WORLD_SIZE", "2"}}).find("RANK: got \"one\"") != std::string::npos);
  CHECK(refusal({{"RANK", "0"}, {"WORLD_SIZE", "0"}}).find("WORLD_SIZE: got \"0\"") != std::string::npos);
  CHECK(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}}).find("MASTER_ADDR is not set") != std::string::npos);
  CHECK(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "70000"}})
            .find("MASTER_PORT") != std::string::npos);
  CHECK(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_WORLD_SIZE", "2"}, {"LOCAL_RANK", "2"}})
            .find("LOCAL_RANK is 2") != std::string::npos);
}

TEST_CASE("the first host of a Slurm node list") {
  CHECK(first_host("n1") == "n1");
  CHECK(first_host("n1,n2") == "n1");
  CHECK(first_host("gpu[003-007,010],other") == "gpu003");
  CHECK(first_host("gpu[7]") == "gpu7");
  CHECK(first_host("gpu[1,3]-ib") == "gpu1-ib");
  CHECK(first_host("rack[2-3]n[05-06]") == "rack2n05");
  CHECK_THROWS_AS(first_host("gpu[1-"), UsageError);
  CHECK_THROWS_AS(first_host(""), UsageError);
}
