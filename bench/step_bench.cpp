#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "experiments/system/memory.hpp"
#include "experiments/train/session.hpp"

// Our side of bench/compare_with_pytorch.py: bench_step CONFIG.json THREADS. Reads lines and answers each with one:
//   write FOLDER   weights.safetensors with the initial weights and batches.safetensors with the first 20 batches
//   run N EVERY    makes N steps, every EVERY-th traced (0: none): the seconds they took and the losses
//   gemm           GFLOP/s of a float32 product of 2048 x 2048 matrices: the ceiling
//   memory         resident memory, MiB
namespace {

constexpr std::int64_t kBatches = 20;

void write(const scalevec::experiments::Session& session, const scalevec::experiments::RunConfig& config,
           const std::string& folder) {
  scalevec::models::write_safetensors(folder + "/weights.safetensors", session.weights());
  scalevec::models::NamedTensors batches;
  for (std::int64_t step = 0; step < kBatches; ++step) {
    torch::Tensor tokens = torch::empty({config.batch_size, config.sequence_length + 1}, torch::kInt64);
    session.source()->train_batch(step, config.batch_size, 0, config.batch_size, config.sequence_length,
                                  tokens.data_ptr<std::int64_t>());
    batches.emplace_back("batch." + std::to_string(step), tokens);
  }
  scalevec::models::write_safetensors(folder + "/batches.safetensors", batches);
}

double gemm_rate() {
  const torch::NoGradGuard no_grad;
  const torch::Tensor a = torch::randn({2048, 2048}), b = torch::randn({2048, 2048});
  torch::Tensor c = torch::mm(a, b);
  double best = 0.0;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    at::mm_out(c, a, b);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2.0 * 2048.0 * 2048.0 * 2048.0 / took.count() / 1e9);
  }
  return best;
}

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double size = 0.0, resident = 0.0;
  statm >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1048576.0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: bench_step CONFIG.json THREADS\n";
    return 2;
  }
  scalevec::experiments::keep_freed_memory();
  at::set_num_threads(std::stoi(argv[2]));
  std::ifstream file(argv[1]);
  const scalevec::experiments::RunConfig config = scalevec::experiments::read_run_config(nlohmann::json::parse(file));
  scalevec::experiments::Session session(config);
  std::cout.precision(10);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string verb, folder;
    words >> verb;
    if (verb == "write" && words >> folder) {
      write(session, config, folder);
      std::cout << "written" << std::endl;
      continue;
    }
    if (verb == "gemm" || verb == "memory") {
      std::cout << (verb == "gemm" ? gemm_rate() : resident_mib()) << std::endl;
      continue;
    }
    std::int64_t steps = 0, every = 0;
    if (verb != "run" || !(words >> steps >> every)) return 2;
    std::ostringstream losses;
    losses.precision(10);
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < steps; ++i) losses << ' ' << session.step(every > 0 && i % every == 0).loss;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::cout << took.count() << losses.str() << std::endl;
  }
}
