#include "experiments/compare/search.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

namespace scalevec::experiments {
namespace {

using nlohmann::json;

// The cells of one setting, by index, and what its tuning seeds gave.
struct Setting {
  double lr = 0.0;
  bool alternative = false;
  std::vector<size_t> tuning, comparison;
  bool tried = false;  // every tuning seed has finished or diverged
  double loss = kNaN;  // their mean; +infinity if one diverged
};

using Settings = std::vector<Setting>;

std::map<std::string, Settings> settings_by_variant(const Grid& grid, std::span<const CellOutcome> outcomes) {
  std::map<std::string, std::map<std::pair<double, bool>, Setting>> all;
  for (size_t i = 0; i < grid.cells.size(); ++i) {
    const Cell& cell = grid.cells[i];
    const double lr = cell.setting.at(grid.lr_key).get<double>();
    const bool alternative = cell.setting.contains(kAlternative);
    Setting& setting = all[cell.variant][{lr, alternative}];
    setting.lr = lr;
    setting.alternative = alternative;
    (cell.tuning ? setting.tuning : setting.comparison).push_back(i);
  }
  std::map<std::string, Settings> out;
  for (auto& [variant, by_key] : all)
    for (auto& [key, setting] : by_key) {
      double sum = 0.0;
      setting.tried = !setting.tuning.empty();
      for (const size_t i : setting.tuning) {
        setting.tried = setting.tried && outcomes[i].state != CellOutcome::State::missing;
        sum += outcomes[i].loss;
      }
      if (setting.tried) setting.loss = sum / static_cast<double>(setting.tuning.size());
      out[variant].push_back(std::move(setting));
    }
  return out;
}

// The tried setting with the least loss; of equal ones the lower lr, and without the alternative. Among lrs alone if
// `plain`.
const Setting* best_of(const Settings& settings, bool plain) {
  const Setting* best = nullptr;
  for (const Setting& s : settings)
    if (s.tried && !(plain && s.alternative) && (!best || s.loss < best->loss)) best = &s;
  return best;
}

// What is tuned next; null when nothing is left to try.
const Setting* next_of(const Settings& settings, const Search& search) {
  std::int64_t count = 0;
  const Setting *lowest = nullptr, *highest = nullptr, *below = nullptr, *above = nullptr, *beyond_low = nullptr,
                *beyond_high = nullptr;
  const Setting* best = best_of(settings, true);
  for (const Setting& s : settings) {
    count += s.tried;
    if (s.alternative || !s.tried) continue;
    if (!lowest) lowest = &s;
    highest = &s;
    if (s.lr < best->lr) below = &s;
    if (s.lr > best->lr && !above) above = &s;
  }
  if (count >= search.settings) return nullptr;
  for (const Setting& s : settings) {
    if (s.alternative) continue;
    if (s.lr < lowest->lr) beyond_low = &s;
    if (s.lr > highest->lr && !beyond_high) beyond_high = &s;
  }
  const bool inner = best != lowest && best != highest;
  if (inner && count + 1 == search.settings)
    for (const Setting& s : settings)
      if (s.alternative && s.lr == best->lr) return &s;
  const bool up = inner ? above->loss < below->loss : best == highest;
  const Setting *first = up ? beyond_high : beyond_low, *second = up ? beyond_low : beyond_high;
  return first ? first : second;
}

}  // namespace

std::vector<size_t> needed_cells(const Grid& grid, std::span<const CellOutcome> outcomes) {
  std::set<size_t> needed;
  if (!grid.search) {
    for (size_t i = 0; i < grid.cells.size(); ++i) needed.insert(needed.end(), i);
    return {needed.begin(), needed.end()};
  }
  const Search& search = *grid.search;
  const std::map<std::string, Settings> variants = settings_by_variant(grid, outcomes);
  std::map<std::string, std::pair<double, bool>> chosen;
  for (const auto& [variant, settings] : variants) {
    if (search.same_as.count(variant)) continue;
    bool waits = false;
    for (const Setting& s : settings) {
      const bool start =
          !s.alternative && std::find(search.start.begin(), search.start.end(), s.lr) != search.start.end();
      if (start || s.tried) needed.insert(s.tuning.begin(), s.tuning.end());
      waits = waits || (start && !s.tried);
    }
    if (waits) continue;
    if (const Setting* next = next_of(settings, search)) {
      needed.insert(next->tuning.begin(), next->tuning.end());
      continue;
    }
    const Setting* best = best_of(settings, false);
    if (std::isfinite(best->loss)) chosen[variant] = {best->lr, best->alternative};
  }
  for (const auto& [variant, settings] : variants) {
    const auto other = search.same_as.find(variant);
    const auto at = chosen.find(other == search.same_as.end() ? variant : other->second);
    if (at == chosen.end()) continue;
    for (const Setting& s : settings)
      if (std::pair(s.lr, s.alternative) == at->second) needed.insert(s.comparison.begin(), s.comparison.end());
  }
  return {needed.begin(), needed.end()};
}

Grid subgrid(const Grid& grid, const std::vector<size_t>& cells) {
  Grid out = grid;
  out.cells.clear();
  for (const size_t i : cells) out.cells.push_back(grid.cells[i]);
  return out;
}

Grid samples(const Grid& grid) {
  std::set<std::pair<std::string, bool>> seen;
  std::vector<size_t> cells;
  for (size_t i = 0; i < grid.cells.size(); ++i)
    if (seen.emplace(grid.cells[i].variant, grid.cells[i].setting.contains(kAlternative)).second) cells.push_back(i);
  return subgrid(grid, cells);
}

}  // namespace scalevec::experiments
