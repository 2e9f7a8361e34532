#pragma once

#include <filesystem>
#include <string>

#include "experiments/claims/claim.hpp"
#include "tests/compare/scratch.hpp"

using namespace scalevec::experiments;

// A ledger whose runs are made by a shell script: the final loss is a parabola in ln lr with its least at "best"
// (0.008), plus what the configuration says under "effect", plus noise that follows from the seed (mostly shared by the
// variants: paired seeds).
inline constexpr const char* kFakeProgram = R"sh(#!/bin/sh
for last; do :; done
[ "$last" = --check ] && exit 0
cell=$4
echo call >> "$cell/calls"
value() { sed -n "s/.*\"$1\": \([-0-9.e]*\).*/\1/p" "$2" | head -1; }
lr=$(value lr "$2"); seed=$(value seed "$2"); effect=$(value effect "$2"); fails=$(value fails "$2"); diverges=$(value diverges "$2"); best=$(value best "$2")
if [ "$seed" = "$fails" ]; then echo "out of luck" >&2; exit 1; fi
if [ "$seed" = "$diverges" ]; then echo '{"status": "diverged", "reason": "loss at step 2"}' > "$cell/summary.json"; exit 1; fi
if [ -n "$STOP_AFTER" ] && [ "$(find "$(dirname "$(dirname "$cell")")" -name summary.json | wc -l)" -ge "$STOP_AFTER" ]; then
  kill -TERM $PPID; trap 'exit 143' TERM; while :; do sleep 0.02; done
fi
loss=$(awk -v lr="$lr" -v seed="$seed" -v effect="${effect:-0}" -v best="${best:-0.008}" 'BEGIN {
  printf "%.12f", 2 + effect + 0.02 * (log(lr / best))^2 + 0.1 * sin(seed) + 0.012 * sin(seed * 8.9 + effect * 7823.3) }')
echo "{\"status\": \"done\", \"val_loss\": $loss, \"steps\": 10, \"seconds\": 1, \"threads\": 2, \"parameters\": 104896, \"tokens\": 1000}" > "$cell/summary.json"
)sh";

inline const scalevec::experiments::LedgerFiles& fake_ledger() {
  static const scalevec::experiments::LedgerFiles files{
      {"setup.json", R"({"order": ["good", "bad"], "base": {"effect": 0, "seed": 0, "optimizer": {"lr": 1}},
        "variants": {"plain": {}},
        "tiers": {"standard": {"purpose": "a test", "needs_text": false, "lrs": [2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2],
                  "tuning_seeds": [1001, 1002], "looks": [4, 8, 12], "extensions": 2},
                  "quick": {"purpose": "a quick test", "decides": false, "needs_text": false, "lrs": [4e-3, 8e-3, 1.6e-2, 3.2e-2],
                  "tuning_seeds": [1001], "looks": [3]}}})"},
      {"good.json",
       R"({"id": "good", "title": "better", "statement": "The variant better is better.", "rule": "One contrast.",
        "smallest_effect": 0.01, "variants": {"better": {"set": {"effect": -0.05}}},
        "theory": {"figures": ["P99"], "reading": "confirmed", "says": "By construction."},
        "contrasts": [{"name": "own", "worse": "plain", "better": "better", "decides": true},
                      {"name": "matched", "worse": "plain", "better": "better", "at": "matched"}]})"},
      {"bad.json",
       R"({"id": "bad", "title": "worse", "statement": "The variant worse is better.", "rule": "One contrast.",
        "smallest_effect": 0.01, "variants": {"worse": {"set": {"effect": 0.05}}},
        "theory": {"reading": "confirmed", "says": "Wrongly."},
        "contrasts": [{"name": "own", "worse": "plain", "better": "worse", "decides": true}]})"}};
  return files;
}

// Writes a ledger to a folder, with one file replaced.
inline std::filesystem::path write_ledger(const Scratch& scratch, const std::string& folder,
                                          const scalevec::experiments::LedgerFiles& files) {
  for (const auto& [name, text] : files) scratch.write(folder + "/" + name, text);
  return scratch / folder;
}

inline scalevec::experiments::LedgerFiles with_file(scalevec::experiments::LedgerFiles files, const std::string& name,
                                                    const std::string& from, const std::string& to) {
  for (auto& [file, text] : files)
    if (file == name) text.replace(text.find(from), from.size(), to);
  return files;
}
