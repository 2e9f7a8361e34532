#include "experiments/compare/analysis.hpp"
#include "experiments/compare/report_parts.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "tests/fuzz/targets.hpp"

using namespace scalevec::experiments;

// compare.json and the summary of a cell as the report reads them: the manifest, a zero byte, the summary.
void scalevec::fuzz::run_record(std::string_view bytes) {
  const auto zero = bytes.find('\0');
  const InputFile manifest(bytes.substr(0, zero), ".json");
  const InputFile summary(zero == std::string_view::npos ? "" : bytes.substr(zero + 1), ".summary");
  try {
    const auto json = read_record(manifest.path());
    if (!json) return;
    Comparison comparison{"", grid_from_manifest(*json), *json, {}};
    const auto record = read_record_if_sound(summary.path());
    for (size_t i = 0; i < comparison.grid.cells.size(); ++i)
      comparison.outcomes.push_back({CellOutcome::State::done, record ? number_at(*record, "val_loss") : 0.0, ""});
    const Analysis analysis = analyse(comparison);
    report_json(comparison, analysis);
  } catch (const UsageError&) {
  } catch (const RunError&) {
  }
}
