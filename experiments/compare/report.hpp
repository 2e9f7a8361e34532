#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/compare/analysis.hpp"

namespace scalevec::experiments {

// Writes one self-contained HTML page about a comparison (one folder with a compare.json) or about one or more runs
// (folders with a summary.json or metrics.jsonl): findings, table, policies in words, pictures, and how to reproduce
// it. The page is made of OUT.json beside it and of pictures; OUT_files/ has each picture as PNG and SVG, its data
// and its gnuplot script. Without gnuplot the page has only the tables and says so. With an empty `title` the page has
// the name of the comparison. Throws UsageError for other folders.
void write_report(const std::vector<std::filesystem::path>& dirs, const std::filesystem::path& out,
                  const std::string& title);

// The same for a comparison that is loaded and judged already.
void write_report(const Comparison& comparison, const Analysis& analysis, const std::filesystem::path& out,
                  const std::string& title);

}  // namespace scalevec::experiments
