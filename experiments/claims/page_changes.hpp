#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace scalevec::experiments {

// Parts of the page of a joined ledger. What each claim said in the ledger before and says now, and what is different
// about how: level, learning rates, pairs, texts, rule. Empty if `since` is null.
std::string changes_section(const nlohmann::json& ledger, const nlohmann::json& since);

// Runs that failed or diverged, variants whose learning rate could not be fitted, what is inconclusive and why, and
// where levels of evidence disagree.
std::string failures_section(const nlohmann::json& ledger);

}  // namespace scalevec::experiments
