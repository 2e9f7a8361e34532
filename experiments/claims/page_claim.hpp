#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace scalevec::experiments {

// The section of one claim of a joined ledger (joined.hpp): what it states and what each level says, and folded away
// its rule, theory, toy, and per level and text the tables and pictures. `dir` and `files` as in ledger_page(); `seen`:
// the figures of the theory that the page has already.
std::string claim_section(const nlohmann::json& claim, const std::filesystem::path& dir,
                          const std::filesystem::path& files, std::set<std::string>& seen);

}  // namespace scalevec::experiments
