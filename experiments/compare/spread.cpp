#include "experiments/compare/spread.hpp"

#include <optional>
#include <set>

#include "experiments/errors.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

Grid with_cells(const Grid& grid, std::vector<Cell> cells) {
  Grid out = grid;
  out.cells = std::move(cells);
  return out;
}

}  // namespace

Shard parse_shard(const std::string& text) {
  const size_t slash = text.find('/');
  const auto index = whole_number(std::string_view(text).substr(0, slash));
  const auto count = slash == std::string::npos ? std::nullopt : whole_number(std::string_view(text).substr(slash + 1));
  if (!index || !count || *index < 1 || *index > *count)
    throw UsageError("--shard: got \"" + text + "\"; allowed: I/N with I from 1 to N, for example 2/8");
  return {static_cast<size_t>(*index), static_cast<size_t>(*count)};
}

Grid shard_of(const Grid& grid, const Shard& shard) {
  std::set<std::string> names;
  size_t rank = 0;
  // A search needs the outcomes of a variant's own cells, so that its variants stay whole.
  if (grid.search)
    for (const std::string& variant : grid.variants) {
      if (grid.search->same_as.count(variant)) continue;
      if (rank++ % shard.count != shard.index - 1) continue;
      for (const Cell& cell : grid.cells) {
        const auto same_as = grid.search->same_as.find(cell.variant);
        if ((same_as == grid.search->same_as.end() ? cell.variant : same_as->second) == variant)
          names.insert(cell.name);
      }
    }
  else
    for (const std::string& variant : grid.variants)
      for (const Cell& cell : grid.cells)
        if (cell.variant == variant && rank++ % shard.count == shard.index - 1) names.insert(cell.name);
  std::vector<Cell> cells;
  for (const Cell& cell : grid.cells)
    if (names.count(cell.name)) cells.push_back(cell);
  return with_cells(grid, std::move(cells));
}

Grid only_cell(const Grid& grid, const std::string& name) {
  if (grid.trunk && name == kTrunk) return with_cells(grid, {});
  std::vector<std::string> names;
  for (const Cell& cell : grid.cells) {
    if (cell.name == name) return with_cells(grid, {cell});
    names.push_back(cell.name);
  }
  const std::string nearest = nearest_word(name, names);
  throw UsageError("--cell: the grid has no cell \"" + name + "\"" +
                   (nearest.empty() ? "; --list-cells names those to run" : "; did you mean \"" + nearest + "\"?"));
}

std::string shell_quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                          "._-+=/,:@%") == std::string::npos;
  if (plain) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string call_text(const CompareCall& call) {
  std::string text = "compare " + shell_quoted(call.grid) + " --out " + shell_quoted(call.out) + " --jobs " +
                     std::to_string(call.jobs);
  for (const std::string& set : call.sets) text += " --set " + shell_quoted(set);
  return text;
}

std::string cell_command(const CompareCall& call, const std::filesystem::path& folder,
                         const std::filesystem::path& program, const Cell& cell) {
  return "cd " + shell_quoted(folder.string()) + " && exec " + shell_quoted(program.string()) + " " + call_text(call) +
         " --cell " + shell_quoted(cell.name);
}

}  // namespace scalevec::experiments
