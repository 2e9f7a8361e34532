#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/plot/forest.hpp"
#include "experiments/plot/plot.hpp"

// A judged ledger as text and as a page, from the content of its files joined (joined.hpp).
namespace scalevec::experiments {

// The result as text for the terminal.
std::string ledger_text(const nlohmann::json& ledger);

// The result as one self-contained HTML page beside the folders of the ledger in `dir`: runs/, whose curves it shows,
// and theory/. Draws its pictures into DIR/claims_files. What a folder does not have is left out. Without `dir` nothing
// is drawn: where a picture would be there is an empty figure element with its id. `since`: the ledger that this one
// follows, joined; the page then says what changed. Null: none.
std::string ledger_page(const nlohmann::json& ledger, const std::filesystem::path& dir,
                        const nlohmann::json& since = nullptr);

// Why a tier that decides nothing gives no verdicts.
std::string withheld_reason(const std::string& tier);

// The leading contrast of each judged claim at each level and text. The first forest has the claims whose gains are in
// nats per token, on one axis; the second the others, each on its own.
std::vector<Forest> ledger_forests(const nlohmann::json& ledger);

// The interval of every contrast of an entry of evidence, with gain 0, the smallest effect of interest and a dot for
// each seed. Contrasts may have different units, so each has its own scale.
Forest entry_forest(const nlohmann::json& entry);

// "CLAIM-TIER-TEXT-KIND", without what the entry does not have.
std::string picture_name(const std::string& claim, const nlohmann::json& entry, const std::string& kind);

Plot toy_plot(const nlohmann::json& claim);
// Of an entry of evidence: loss against lr on the tuning seeds, validation loss during training, and of a ladder the
// points with the fitted laws. Plots without panels have nothing to show.
std::vector<Plot> run_plots(const std::string& claim, const nlohmann::json& entry, const std::filesystem::path& runs);
// Its traces: imbalance, ‖w‖/γ, and curvature if it was measured.
std::vector<Plot> mechanism_plots(const std::string& claim, const nlohmann::json& entry);

// The gain of a contrast as text: "+0.0123 [-0.0010, +0.0256]", or why there is none.
std::string gain_text(const nlohmann::json& contrast);
// The same; of a contrast of turns the ratio: "1.012 [1.008, 1.016] ×".
std::string effect_text(const nlohmann::json& contrast);

// A verdict as HTML in its colour; nothing for an empty one.
std::string verdict_mark(const std::string& verdict);
// "0.1M" as "0.1 M".
std::string level_name(const std::string& level);
// "1 M, english-bytes".
std::string entry_name(const nlohmann::json& entry);

}  // namespace scalevec::experiments
