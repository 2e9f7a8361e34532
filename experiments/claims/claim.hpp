#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// The ledger as its files state it (docs/claim-files.md): what each claim says, and which runs decide it. It is fixed
// before the runs.
namespace scalevec::experiments {

// A configuration that is trained: changes of the tier's base configuration by dotted key. Plan chooses the lr.
struct Variant {
  std::string name;
  nlohmann::json overrides = nlohmann::json::object();
  std::map<std::string, nlohmann::json> tiers;  // further changes for one tier
  double steps_factor = 1.0;                    // multiplies the number of steps; the warm-up is not changed
  std::string lr_from;  // this variant is trained at the best lr of that variant; empty: it is tuned itself
  // This variant is trained at the lr of a power law in width through the best lrs of these variants, whose widths
  // differ.
  std::vector<std::string> lr_law;
  // This variant goes on from a checkpoint of that variant's run at the same lr and seed, at the step where its WSD
  // schedule begins to decay; its own configuration says its whole length. Empty: it begins at step 0.
  std::string trunk;
  std::int64_t most_tuning_seeds = 0;  // tuned on at most this many of the tier's tuning seeds; 0: all

  bool tuned() const { return lr_from.empty() && lr_law.empty(); }
};

// One comparison of a claim. Its result is a gain; a gain above 0 supports the claim.
struct Contrast {
  enum class Kind {
    difference,  // metric(worse) − metric(better), paired over seeds
    ratio,       // limit − metric(variant)/metric(baseline), paired over seeds
    level,       // metric(variant) − reference
    closeness,   // limit − |ln metric(variant)|
    ladder,      // compute ratio of two fitted scaling laws at the largest budget, minus 1
    tokens       // tokens the baseline needs for the variant's loss over the variant's tokens, minus 1
  };
  // own: each variant at its own best lr. matched: one lr for both, that of the claim's baseline if it is among
  // `variants` or there are no `baselines`, else that of `baselines`.
  enum class At { own, matched };

  std::string name;
  Kind kind = Kind::difference;
  At at = At::own;
  bool decides = false;  // part of the verdict, looked at as often as the tier says; false: shown, uncorrected
  std::string metric = "val_loss";
  std::vector<std::string>
      variants;  // by kind: better (several: the best on the tuning seeds), variant, large variants
  std::vector<std::string> baselines;  // worse, baseline, small variants; of tokens: the baseline at several lengths
  double limit = 0.0;                  // of ratio and closeness; of level the reference
  double smallest_effect = 0.0;
  std::int64_t most_seeds = 0;  // for one that does not decide: uses at most this many pairs; 0: all

  // Whether pairs are added look by look. Laws that are fitted to several variants are looked at once.
  bool sequential() const { return kind != Kind::ladder && kind != Kind::tokens; }
};

// The settings of a tier that a claim can change.
struct TierChoice {
  std::vector<double> lrs;  // rising
  std::vector<std::int64_t> tuning_seeds;
  // Pairs at each look, rising; the last is the most that are made. Comparison seeds are first_seed, first_seed + 1, …
  std::vector<std::int64_t> looks;
  std::int64_t first_seed = 1;
  std::vector<std::string> texts;  // names of the texts that it runs on; empty: on whatever is given
  std::map<std::string, nlohmann::json> text_overrides;  // further changes on one text
  std::int64_t extensions = 0;  // how often the lr grid may be extended where the vertex lies outside
  nlohmann::json overrides = nlohmann::json::object();  // changes of the tier's base

  std::int64_t most_pairs() const { return looks.back(); }
};

struct ToyClaim {
  nlohmann::json problem, worse, better;  // read by experiments/claims/toy
  double smallest_effect = 0.05;
};

// Trains the toy of a claim with the library's optimizers and returns {"lrs", "worse", "better": mean loss over the
// tuning replicas for each lr, null if one diverged; "worse_lr", "better_lr": the best lr; "gains": ln(loss worse/loss
// better) of each comparison replica; "words"}. It is passed as a function, so that the code that judges a ledger needs
// no LibTorch.
using ToyRunner = nlohmann::json (*)(const ToyClaim& toy);

// The tier of the claims about time and memory, which have no other.
inline constexpr const char* kTimesTier = "times";

struct Claim {
  std::string id, title, statement, rule, unit;
  std::string quoted;  // figures of others for the same, with their source
  bool judged = true;  // false: shown, no verdict is drawn and no error rate is spent
  std::vector<std::string> sources, against;
  std::vector<std::string> figures;  // of the theory, by name
  std::string theory_reading;        // what the closed form says: confirmed, contradicted, conditional, silent
  std::string theory_says;           // in words, with the condition
  std::optional<ToyClaim> toy;
  std::string baseline;  // the variant whose best lr is the matched one
  std::vector<Variant> variants;
  std::vector<std::string> probes;  // names of the variants whose curvature and gradient noise are measured
  std::vector<Contrast> contrasts;
  std::map<std::string, nlohmann::json> tiers;  // tier → overrides of TierChoice
  bool times = false;                           // decided by the turns of the tier kTimesTier (times.hpp) alone
  std::string hash;                             // SHA-256 of the claim's file and the set-up's
};

struct Tier {
  std::string name;
  std::string purpose;              // in words
  bool decides = true;              // false: the runs only show that the program works; no verdict is drawn
  bool needs_text = true;           // false: without a text, the synthetic data of the base are used
  std::vector<std::string> claims;  // ids of those that run at it; empty: all
  nlohmann::json base;              // run configuration
  TierChoice choice;
};

struct Ledger {
  std::vector<Claim> claims;
  std::map<std::string, Tier> tiers;

  const Claim& claim(const std::string& id) const;  // throws UsageError with the nearest id
  TierChoice choice(const Claim& claim, const std::string& tier) const;
  bool runs_at(const Claim& claim, const std::string& tier) const;
  // Whether it runs at the tier, and on this text there.
  bool runs_on(const Claim& claim, const std::string& tier, const std::string& text) const;
  // The number of hypotheses of the whole ledger at the tier, among which the error rate is divided: the deciding
  // contrasts of judged claims, once for each of a claim's texts (`given`: how many there are where it names none).
  std::int64_t hypotheses(const std::string& tier, std::int64_t given) const;
  nlohmann::json variant_config(const Claim& claim, const Variant& variant, const std::string& tier,
                                const std::string& text) const;
};

// Name and text of each file of a ledger: setup.json and one per claim.
using LedgerFiles = std::vector<std::pair<std::string, std::string>>;

LedgerFiles built_in_ledger();                                  // compiled into the program
LedgerFiles ledger_files(const std::filesystem::path& folder);  // UsageError

// Reads and checks the files. Throws ConfigError with the file, the path, the value and what is allowed.
Ledger read_ledger(const LedgerFiles& files);

}  // namespace scalevec::experiments
