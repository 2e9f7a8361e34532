#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace scalevec {

// Writes one self-contained HTML page about a comparison (one folder with a compare.json) or about one or more runs
// (folders with a summary.json or metrics.jsonl): what it shows, the table, the policies in words, the pictures, how to
// reproduce it. Beside OUT.html: OUT.json with every number, and OUT_files/ with each picture as PNG and SVG, its data
// and its gnuplot script. Without gnuplot the page says so and holds the tables alone. An empty title gives the
// comparison's name. Throws UsageError for folders that are neither.
void write_report(const std::vector<std::filesystem::path>& dirs, const std::filesystem::path& out, std::string title);

}  // namespace scalevec
