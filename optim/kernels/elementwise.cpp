#include "scalevec/optim/kernels/elementwise.hpp"

#include <cstddef>

#include "scalevec/optim/core/instruction_set.hpp"

namespace scalevec::kernels {

SCALEVEC_ISA_TABLES(Table, table, chosen_table)

namespace {

template <class Item>
std::vector<Unit> units_of(std::span<const Item> items) {
  std::vector<Unit> units;
  units.reserve(items.size());
  for (std::size_t j = 0; j < items.size(); ++j)
    for (std::int64_t begin = 0; begin < items[j].size; begin += kChunk)
      units.push_back({j, begin, begin + kChunk < items[j].size ? begin + kChunk : items[j].size});
  return units;
}

}  // namespace

StepPlan::StepPlan(std::span<const Job> jobs, bool with_sums)
    : jobs_(jobs), units_(units_of(jobs)), partial_(with_sums ? units_.size() : 0), table_(&chosen_table()) {}

void StepPlan::run(std::span<StepSums> sums, const ParallelFor& parallel_for) {
  parallel_for(static_cast<std::int64_t>(units_.size()), [this](std::int64_t u) {
    const Unit& unit = units_[static_cast<std::size_t>(u)];
    table_->step_chunk(jobs_[unit.job], unit.begin, unit.end,
                       partial_.empty() ? nullptr : &partial_[static_cast<std::size_t>(u)]);
  });
  for (StepSums& s : sums) s = StepSums{};
  for (std::size_t u = 0; u < partial_.size(); ++u) sums[units_[u].job] += partial_[u];
}

void step(std::span<const Job> jobs, std::span<StepSums> sums, const ParallelFor& parallel_for) {
  StepPlan(jobs, !sums.empty()).run(sums, parallel_for);
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
