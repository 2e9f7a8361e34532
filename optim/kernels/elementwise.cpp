#include "scalevec/optim/kernels/elementwise.hpp"

#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace scalevec::kernels {

extern const Table table_baseline;
#if defined(SCALEVEC_X86_ISAS)
extern const Table table_avx2;
extern const Table table_avx512;
#endif

namespace {

// The tables that this machine can run, the best first.
std::vector<const Table*> runnable_tables() {
  std::vector<const Table*> tables;
#if defined(SCALEVEC_X86_ISAS)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd"))
    tables.push_back(&table_avx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    tables.push_back(&table_avx2);
#endif
  tables.push_back(&table_baseline);
  return tables;
}

const Table& choose_table() {
  const std::vector<const Table*> tables = runnable_tables();
  const char* wanted = std::getenv("SCALEVEC_ISA");
  if (!wanted) return *tables.front();
  std::string allowed;
  for (const Table* table : tables) {
    if (std::string(wanted) == table->name) return *table;
    allowed += (allowed.empty() ? "" : ", ") + std::string(table->name);
  }
  throw std::invalid_argument("environment variable SCALEVEC_ISA: got \"" + std::string(wanted) +
                              "\"; allowed on this machine: " + allowed);
}

const Table& chosen_table() {
  static const Table& chosen = choose_table();
  return chosen;
}

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

const char* instruction_set() { return chosen_table().name; }

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
