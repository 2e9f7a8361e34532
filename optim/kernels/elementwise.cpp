#include "optim/kernels/elementwise.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "optim/core/instruction_set.hpp"

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
    : jobs_(jobs), units_(units_of(jobs)), table_(&chosen_table()) {
  const bool modified = std::any_of(jobs.begin(), jobs.end(), [](const Job& job) { return job.modifier != nullptr; });
  if (modified) divide_into_blocks();
  partial_.resize(with_sums ? units_.size() : 0);
}

// Units that end where a block does, and room for what is summed over a block.
void StepPlan::divide_into_blocks() {
  units_.clear();
  for (std::size_t j = 0; j < jobs_.size(); ++j) {
    const Job& job = jobs_[j];
    const std::int64_t blocks = job.modifier ? job.modifier->blocks : 1, length = job.size / blocks;
    for (std::int64_t b = 0; b < blocks; ++b) {
      for (std::int64_t begin = b * length; begin < (b + 1) * length;) {
        const std::int64_t chunk = (begin / kChunk + 1) * kChunk, end = std::min(chunk, (b + 1) * length);
        if (job.modifier && job.modifier->needs_sums()) measured_.push_back(units_.size());
        units_.push_back({j, begin, end});
        block_of_.push_back(scales_.size());
        begin = end;
      }
      if (length > 0) scales_.emplace_back();
    }
  }
  measures_.resize(measured_.size());
}

// A block's sums in the order of its units, whichever thread made them.
void StepPlan::make_scales() {
  for (std::size_t first = 0, last = 0; first < measured_.size(); first = last) {
    const std::size_t block = block_of_[measured_[first]];
    const Job& job = jobs_[units_[measured_[first]].job];
    ModifierSums sums;
    std::int64_t count = 0;
    for (; last < measured_.size() && block_of_[measured_[last]] == block; ++last) {
      sums += measures_[last];
      count += units_[measured_[last]].end - units_[measured_[last]].begin;
    }
    const Modifier& modifier = *job.modifier;
    const std::int64_t at = units_[measured_[first]].begin / (job.size / modifier.blocks);
    scales_[block] = job.dtype == Dtype::float64 ? noted_scales_of<double>(modifier, sums, count, at)
                                                 : noted_scales_of<float>(modifier, sums, count, at);
  }
}

void StepPlan::run(std::span<StepSums> sums, const ParallelFor& parallel_for) {
  if (!measured_.empty()) {
    parallel_for(static_cast<std::int64_t>(measured_.size()), [this](std::int64_t m) {
      const Unit& unit = units_[measured_[static_cast<std::size_t>(m)]];
      measures_[static_cast<std::size_t>(m)] = table_->measure_chunk(jobs_[unit.job], unit.begin, unit.end);
    });
    make_scales();
  }
  parallel_for(static_cast<std::int64_t>(units_.size()), [this](std::int64_t u) {
    const auto at = static_cast<std::size_t>(u);
    const Unit& unit = units_[at];
    const Job& job = jobs_[unit.job];
    StepSums* const own = partial_.empty() ? nullptr : &partial_[at];
    if (job.modifier)
      table_->modified_chunk(job, scales_[block_of_[at]], unit.begin, unit.end, own);
    else
      table_->step_chunk(job, unit.begin, unit.end, own);
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
