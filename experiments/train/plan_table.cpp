#include "experiments/train/plan_table.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "experiments/system/terminal_text.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;
using Table = std::vector<std::vector<std::string>>;

std::string number(const json& value) { return printed("%.4g", value.get<double>()); }

std::string integer(const json& value) { return std::to_string(value.get<std::int64_t>()); }

std::string shape_text(const json& shape) {
  std::string text;
  for (const json& n : shape) text += (text.empty() ? "" : "x") + integer(n);
  return text.empty() ? "scalar" : text;
}

// Words left-aligned, numbers (as `right` says) right-aligned.
std::string layout(const Table& table, const std::vector<bool>& right) {
  std::vector<size_t> width(right.size(), 0);
  for (const auto& row : table)
    for (size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], display_width(row[c]));
  std::string out;
  for (const auto& row : table) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string pad(width[c] - display_width(row[c]), ' ');
      line += (c ? "  " : "") + (right[c] ? pad + row[c] : row[c] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::vector<std::string> decay_cells(const json& row) {
  if (row["weight_decay"].get<double>() == 0.0) return {"0", "-", "-"};
  return {number(row["weight_decay"]), row["decay_coupling"].get<std::string>(), number(row["decay_target"])};
}

}  // namespace

std::string plan_text(const json& policy) {
  Table rows{{"parameter", "shape", "count", "role", "method", "lr", "decay", "coupling", "target", "clip"}};
  const bool clips = policy["max_norm"].get<double>() > 0.0;
  const auto clip_cell = [&](const json& row) {
    return std::string(!clips ? "-" : row["clip"].get<bool>() ? "in" : "out");
  };
  std::int64_t total = 0, scales = 0;
  for (const json& row : policy["rows"]) {
    std::vector<std::string> cells{row["name"],   shape_text(row["shape"]), integer(row["count"]), row["role"],
                                   row["method"], number(row["lr"])};
    for (auto& cell : decay_cells(row)) cells.push_back(cell);
    cells.push_back(clip_cell(row));
    rows.push_back(cells);
    total += row["count"].get<std::int64_t>();
    if (row["group"].get<std::string>().starts_with("scale")) scales += row["count"].get<std::int64_t>();
  }
  Table groups{{"group", "rule", "tensors", "count", "method", "lr", "decay", "coupling", "target", "clip"}};
  for (const json& group : policy["groups"]) {
    std::vector<std::string> cells{group["group"],          integer(group["rule"]), integer(group["tensors"]),
                                   integer(group["count"]), group["method"],        number(group["lr"])};
    for (auto& cell : decay_cells(group)) cells.push_back(cell);
    cells.push_back(clip_cell(group));
    groups.push_back(cells);
  }
  Table vectors{{"scale vector", "form", "class, and why"}};
  for (const json& scale : policy["scales"]) vectors.push_back({scale["name"], scale["form"], scale["why"]});
  std::string warnings;
  for (const json& warning : policy["warnings"]) warnings += "warning: " + warning.get<std::string>() + "\n";
  std::string start;
  if (policy.contains("from")) {
    const json& from = policy["from"];
    start = "starts from " + from["path"].get<std::string>() + ", weights " +
            from["sha256"].get<std::string>().substr(0, 16) + "…, " +
            (from["inexact"].empty() ? "as the same function" : "as another function") +
            printed("; on drawn tokens the logits differ by %.2g of the largest\n", from["logit_gap"].get<double>());
    for (const json& line : from["inexact"]) start += "  not exact: " + line.get<std::string>() + "\n";
    for (const json& line : from["moved"]) start += "  moved: " + line.get<std::string>() + "\n";
  }
  const std::string share = std::to_string(total) + " parameters, of which " + std::to_string(scales) +
                            printed(" (%.3g %%) are scale vectors\n",
                                    total > 0 ? 100.0 * static_cast<double>(scales) / static_cast<double>(total) : 0.0);
  return layout(rows, {false, true, true, false, false, true, true, false, true, false}) + "\n" +
         layout(groups, {false, true, true, true, false, true, true, false, true, false}) + "\n" +
         (vectors.size() > 1 ? layout(vectors, {false, false, false}) + "\n" : "") + share +
         policy["words"].get<std::string>() + "\n" + policy["precision"].get<std::string>() + "\n" + start + warnings;
}

}  // namespace scalevec::experiments
