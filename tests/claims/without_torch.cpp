#include <stdexcept>

#include "scalevec/experiments/figures/fold_gap.hpp"
#include "scalevec/experiments/figures/toy_run.hpp"

// What the figures need of LibTorch; the ledgers of these tests ask for none of it.
namespace scalevec {

double fold_gap(std::int64_t, std::int64_t, double, double, bool, std::uint64_t) {
  throw std::logic_error("no LibTorch here");
}
ToyRunResult run_toy_with_torch(const ToyRunOptions&) { throw std::logic_error("no LibTorch here"); }
double toy_excess_with_torch(const nlohmann::json&) { throw std::logic_error("no LibTorch here"); }
std::vector<TraceRow> toy_traces_with_torch(const nlohmann::json&, std::int64_t, std::int64_t) {
  throw std::logic_error("no LibTorch here");
}

}  // namespace scalevec
