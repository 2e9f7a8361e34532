#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/claims/verdict.hpp"

// Several claims.json as one: each tier, or machine, writes its own.
namespace scalevec::experiments {

// The claims of all files, in the order in which they first occur, with what the first file that has a claim says of it
// and with the evidence of all, smaller models first. An entry of "evidence" also has the "hash" of the claim it was
// made for and the "first_seed" and "mechanism" of its file. "parts" has what the files say of themselves, without
// claims. Per claim, "at" has for each level of its evidence {"level", "verdict", "texts": [{"text", "verdict"}]};
// "verdict" and "decided_at" are those of the largest level that is not inconclusive, of the largest where all are.
// Joining a joined ledger again changes nothing.
nlohmann::json joined_ledgers(const std::vector<nlohmann::json>& files);

// The same of files. Throws UsageError, led by `option`, for one that is no claims.json.
nlohmann::json joined_files(const std::vector<std::string>& files, const std::string& option);

// The level of a model of so many parameters: the nearest power of ten, "0.1M"; empty for NaN.
std::string level_of_size(double parameters);

// What an object has under "verdict"; inconclusive for every other word.
Verdict read_verdict(const nlohmann::json& object);

// The entries of a claim's evidence at a level: "0.1M", "1M", …
std::vector<nlohmann::json> evidence_at(const nlohmann::json& claim, const std::string& level);

// The first deciding contrast of an entry that has its verdict; else the first that decides; the first if none does.
const nlohmann::json& leading_contrast(const nlohmann::json& entry);

// The levels of a joined ledger, smaller first: those that a page always shows, 0.1M, 1M and 10M, if there are any, and
// others that a claim has.
std::vector<std::string> levels_of(const nlohmann::json& ledger);

}  // namespace scalevec::experiments
