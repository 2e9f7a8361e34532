#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "scalevec/experiments/claims/evidence.hpp"
#include "scalevec/experiments/claims/levels.hpp"

// A judged ledger as numbers, as text, and as a page.
namespace scalevec {

struct LedgerResult {
  std::string tier, purpose, command;
  bool decides = true;
  std::vector<ClaimResult> claims;
  std::vector<std::vector<FigureEvidence>> figures;         // per claim
  std::vector<std::optional<ToyEvidence>> toys;             // per claim
  std::vector<nlohmann::json> mechanisms;                   // per claim: the probes of its arms, null without
  std::vector<std::pair<std::string, std::string>> failed;  // run and reason
  size_t runs = 0, diverged = 0;                            // made
  nlohmann::json provenance;                                // commit, machine, versions, data hash, seconds
};

Levels levels_of(const LedgerResult& ledger, size_t claim);

// claims.json. Depends on nothing but what was planned and what the runs' records hold.
nlohmann::json ledger_json(const LedgerResult& ledger);

std::string ledger_text(const LedgerResult& ledger);

// The gain of a contrast in words: "+0.0123 [-0.0010, +0.0256]", or why there is none.
std::string gain_text(const ContrastResult& contrast);

// One self-contained page; draws its pictures into `files`.
std::string ledger_page(const LedgerResult& ledger, const std::filesystem::path& files);

}  // namespace scalevec
