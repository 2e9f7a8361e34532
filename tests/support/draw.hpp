#pragma once

#include <cmath>
#include <cstdint>
#include <random>

namespace scalevec {

// Random arguments of a formula, the same in every run.
class Arguments {
 public:
  explicit Arguments(std::uint64_t seed) : random_(seed) {}

  // Even in the logarithm.
  double size(double from, double to) { return std::exp(even(std::log(from), std::log(to))); }
  double even(double from, double to) { return std::uniform_real_distribution<double>(from, to)(random_); }
  double either(double from, double to) { return (one_of(2) ? 1.0 : -1.0) * size(from, to); }
  int one_of(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
  double normal() { return std::normal_distribution<double>()(random_); }

 private:
  std::mt19937_64 random_;
};

}  // namespace scalevec
