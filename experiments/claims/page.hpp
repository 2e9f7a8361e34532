#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/plot/forest.hpp"
#include "experiments/plot/plot.hpp"

// A judged ledger as text and as a page, from the content of its claims.json.
namespace scalevec::experiments {

// The result as text for the terminal.
std::string ledger_text(const nlohmann::json& ledger);

// The result as one self-contained HTML page beside the folders of the ledger in `dir`: runs/, whose curves it shows,
// and theory/. Draws its pictures into DIR/claims_files. What a folder does not have is left out. Without `dir` nothing
// is drawn: where a picture would be there is an empty figure element with its id.
std::string ledger_page(const nlohmann::json& ledger, const std::filesystem::path& dir);

// Why a tier that decides nothing gives no verdicts.
std::string withheld_reason(const std::string& tier);

// The interval of every contrast of a claim, with gain 0, the smallest effect of interest and a dot for each seed.
// Contrasts may have different units, so each has its own scale.
Forest claim_forest(const nlohmann::json& claim);

Plot toy_plot(const nlohmann::json& claim);
// Of a claim's language models: loss against lr on the tuning seeds, validation loss during training, and of a ladder
// the points with the fitted laws. Plots without panels have nothing to show.
std::vector<Plot> run_plots(const nlohmann::json& claim, const std::filesystem::path& runs);
// Their traces: imbalance, ‖w‖/γ, and curvature if it was measured.
std::vector<Plot> mechanism_plots(const nlohmann::json& claim);

// The gain of a contrast as text: "+0.0123 [-0.0010, +0.0256]", or why there is none.
std::string gain_text(const nlohmann::json& contrast);

}  // namespace scalevec::experiments
