#include "scalevec/optim/kernels/elementwise.hpp"

#include <cstddef>

#include "scalevec/optim/core/instruction_set.hpp"

namespace scalevec::kernels {

SCALEVEC_ISA_TABLES(Table, table, chosen_table)

namespace {

struct Unit {
  std::size_t job;
  std::int64_t begin, end;
};

template <class Item>
std::vector<Unit> units_of(std::span<const Item> items) {
  std::vector<Unit> units;
  for (std::size_t j = 0; j < items.size(); ++j)
    for (std::int64_t begin = 0; begin < items[j].size; begin += kChunk)
      units.push_back({j, begin, begin + kChunk < items[j].size ? begin + kChunk : items[j].size});
  return units;
}

}  // namespace

void step(std::span<const Job> jobs, std::span<StepSums> sums, const ParallelFor& parallel_for) {
  const std::vector<Unit> units = units_of(jobs);
  const Table& table = chosen_table();
  std::vector<StepSums> partial(sums.empty() ? 0 : units.size());
  parallel_for(static_cast<std::int64_t>(units.size()), [&](std::int64_t u) {
    const Unit& unit = units[static_cast<std::size_t>(u)];
    table.step_chunk(jobs[unit.job], unit.begin, unit.end,
                     sums.empty() ? nullptr : &partial[static_cast<std::size_t>(u)]);
  });
  for (StepSums& s : sums) s = StepSums{};
  for (std::size_t u = 0; u < partial.size(); ++u) sums[units[u].job] += partial[u];
}

std::vector<double> squared_norms(std::span<const GradView> grads, const ParallelFor& parallel_for) {
  const std::vector<Unit> units = units_of(grads);
  const Table& table = chosen_table();
  std::vector<double> partial(units.size());
  parallel_for(static_cast<std::int64_t>(units.size()), [&](std::int64_t u) {
    const Unit& unit = units[static_cast<std::size_t>(u)];
    partial[static_cast<std::size_t>(u)] = table.square_sum(grads[unit.job], unit.begin, unit.end);
  });
  std::vector<double> norms(grads.size(), 0.0);
  for (std::size_t u = 0; u < units.size(); ++u) norms[units[u].job] += partial[u];
  return norms;
}

}  // namespace scalevec::kernels
