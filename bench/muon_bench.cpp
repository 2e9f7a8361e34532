#include <torch/types.h>
#include <torch/utils.h>

#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <tuple>

#include "optim/optim.hpp"

// Our side of bench/muon_peer.py. Reads lines "ROWS COLS THREADS STEPS" and answers each with the seconds that a step
// of Muon with its defaults takes, on a float32 matrix of its own for each ROWS and COLS.
int main() {
  struct Matrix {
    torch::Tensor param;
    std::unique_ptr<scalevec::Muon> optimizer;
  };
  std::map<std::pair<std::int64_t, std::int64_t>, Matrix> matrices;
  std::int64_t rows = 0, cols = 0;
  int threads = 0, steps = 0;
  while (std::cin >> rows >> cols >> threads >> steps) {
    at::set_num_threads(threads);
    Matrix& m = matrices[{rows, cols}];
    if (!m.optimizer) {
      torch::manual_seed(1);
      m.param = torch::randn({rows, cols}).requires_grad_(true);
      m.param.mutable_grad() = torch::randn({rows, cols});
      m.optimizer = std::make_unique<scalevec::Muon>(std::vector<torch::Tensor>{m.param});
    }
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < steps; ++i) m.optimizer->step();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::cout << took.count() / steps << std::endl;
  }
}
