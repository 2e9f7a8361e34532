#pragma once

namespace CLI {
class App;
}

namespace scalevec::experiments {

// `scalevec compare GRID --out DIR`: runs the grid's cells, prints the table, writes DIR/report.html. The callback
// throws UsageError or ConfigError, RunError if cells failed (the report is made all the same), and CLI::RuntimeError
// with 130 or 143 after a signal.
void add_compare_command(CLI::App& app);

// `scalevec report DIR… --out report.html`.
void add_report_command(CLI::App& app);

}  // namespace scalevec::experiments
