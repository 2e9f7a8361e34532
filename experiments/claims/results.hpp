#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/claims/evidence.hpp"
#include "experiments/claims/levels.hpp"

// A judged ledger as numbers, as text, and as a page.
namespace scalevec::experiments {

struct LedgerResult {
  std::string tier, purpose, command;
  std::string withheld;  // why a tier that decides nothing gives no verdicts; empty of one that decides
  std::vector<ClaimResult> claims;
  std::vector<std::vector<FigureEvidence>> figures;         // per claim
  std::vector<std::optional<ToyEvidence>> toys;             // per claim
  std::vector<nlohmann::json> mechanisms;                   // per claim: see mechanism(); null without
  std::vector<std::pair<std::string, std::string>> failed;  // run and reason
  size_t runs = 0, diverged = 0;                            // of the runs that were made
  nlohmann::json provenance;                                // commit, machine, versions, data hash, seconds
};

// The levels of the claim with index `claim`.
Levels levels_of(const LedgerResult& ledger, size_t claim);

// The content of claims.json. It depends only on the plan and on the records of the runs.
nlohmann::json ledger_json(const LedgerResult& ledger);

// The result as text for the terminal.
std::string ledger_text(const LedgerResult& ledger);

// The gain of a contrast as text: "+0.0123 [-0.0010, +0.0256]", or why there is none.
std::string gain_text(const ContrastResult& contrast);

// The result as one self-contained HTML page. Draws its pictures into the folder `files`.
std::string ledger_page(const LedgerResult& ledger, const std::filesystem::path& files);

}  // namespace scalevec::experiments
