#include "experiments/claims/claim.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/claims/metrics.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/overrides.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/statistics/vertex.hpp"
#include "experiments/system/sha256.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;
using Kind = Contrast::Kind;

// One lr that is not tuned, or enough for a fit.
std::vector<double> read_lrs(JsonReader& in) {
  const json& values = in.value("lrs");
  std::vector<double> lrs;
  if (!values.is_array() || values.empty()) in.fail("lrs", "an array of learning rates, rising");
  for (const json& v : values) {
    if (!v.is_number() || !(v.get<double>() > 0.0) || (!lrs.empty() && v.get<double>() <= lrs.back()))
      in.fail("lrs", "an array of learning rates, rising");
    lrs.push_back(v.get<double>());
  }
  if (lrs.size() != 1 && lrs.size() < kFewestLrs) in.fail("lrs", "one learning rate, or four at least");
  return lrs;
}

// Pairs at each look: from two, which have an interval, rising, so that the comparison seeds stay below the tuning
// ones.
std::vector<std::int64_t> read_looks(JsonReader& in, const std::vector<std::int64_t>& fallback,
                                     std::int64_t first_seed) {
  const std::vector<std::int64_t> looks = in.integers("looks", fallback, Range::between(2, 1001 - first_seed));
  for (size_t i = 1; i < looks.size(); ++i)
    if (looks[i] <= looks[i - 1]) in.fail("looks", "numbers of pairs, rising");
  return looks;
}

json read_overrides(JsonReader& in, const std::string& key) {
  if (!in.has(key)) return json::object();
  if (!in.value(key).is_object()) in.fail(key, "an object of overrides by dotted key");
  return in.value(key);
}

TierChoice read_choice(JsonReader& in, TierChoice choice) {
  if (in.has("lrs")) choice.lrs = read_lrs(in);
  choice.tuning_seeds = in.integers("tuning_seeds", choice.tuning_seeds, Range::at_least(1001));
  choice.first_seed = in.integer("first_seed", choice.first_seed, Range::between(1, 1000));
  // Tuning seeds begin at 1001.
  choice.looks = read_looks(in, choice.looks, choice.first_seed);
  choice.texts = in.strings("texts", choice.texts);
  if (in.has("text_set")) {
    JsonReader texts = in.object("text_set");
    for (const auto& [text, overrides] : in.value("text_set").items())
      choice.text_overrides[text] = read_overrides(texts, text);
    texts.finish();
  }
  choice.extensions = in.integer("extensions", choice.extensions, Range::between(0, 16));
  if (in.has("set"))
    for (const auto& [key, value] : in.value("set").items()) choice.overrides[key] = value;
  return choice;
}

Variant read_variant(const std::string& name, JsonReader in, const std::vector<std::string>& tiers) {
  Variant variant{name,
                  read_overrides(in, "set"),
                  {},
                  in.number("steps_factor", 1.0, Range::above(0.0)),
                  in.string("lr_from", ""),
                  in.strings("lr_law", {}),
                  in.string("trunk", ""),
                  in.integer("most_tuning_seeds", 0, Range::at_least(1))};
  if (!variant.lr_law.empty() && (variant.lr_law.size() < 3 || !variant.lr_from.empty()))
    in.fail("lr_law", "three variants at least, and no \"lr_from\" beside it");
  if (!variant.trunk.empty() && variant.tuned())
    in.fail("trunk", "with \"lr_from\" or \"lr_law\": it is tuned nowhere");
  for (const std::string& tier : tiers)
    if (in.has(tier)) variant.tiers[tier] = read_overrides(in, tier);
  in.finish();
  return variant;
}

std::vector<Variant> read_variants(JsonReader& parent, const std::string& what, const std::vector<std::string>& tiers) {
  std::vector<Variant> variants;
  if (!parent.has("variants")) return variants;
  const json& all = parent.value("variants");
  if (!all.is_object()) parent.fail("variants", "an object: name to overrides");
  for (const auto& [name, body] : all.items())
    variants.push_back(read_variant(name, JsonReader(body, what + ": variants." + name), tiers));
  return variants;
}

std::vector<std::string> names_of(const json& object) {
  std::vector<std::string> names;
  for (const auto& [name, body] : object.items()) names.push_back(name);
  return names;
}

Contrast read_contrast(JsonReader in, double smallest_effect) {
  static const std::vector<std::pair<std::string, Kind>> kinds{
      {"difference", Kind::difference}, {"ratio", Kind::ratio},   {"level", Kind::level},
      {"closeness", Kind::closeness},   {"ladder", Kind::ladder}, {"tokens", Kind::tokens}};
  std::vector<std::string> words;
  for (const auto& [word, kind] : kinds) words.push_back(word);
  Contrast c;
  c.name = in.string("name");
  const std::string word = in.choice("kind", "difference", words);
  for (const auto& [w, kind] : kinds)
    if (w == word) c.kind = kind;
  c.at = in.choice("at", "own", {"own", "matched"}) == "own" ? Contrast::At::own : Contrast::At::matched;
  c.decides = in.boolean("decides", false);
  c.metric = in.choice("metric", "val_loss", run_metric_names());
  c.smallest_effect = in.number("smallest_effect", smallest_effect, Range::at_least(0.0));
  const bool compares = c.kind == Kind::difference;
  c.most_seeds = in.integer("most_seeds", 0, Range::at_least(2));
  if (c.most_seeds && c.decides) in.fail("most_seeds", "only where \"decides\" is false: what decides uses every seed");
  c.variants = in.strings(compares ? "better" : "variant", {});
  if (c.variants.empty()) in.fail(compares ? "better" : "variant", "the name of a variant, or several");
  const bool alone = c.kind == Kind::level || c.kind == Kind::closeness;
  if (!alone) {
    c.baselines = in.strings(compares ? "worse" : "baseline", {});
    if (c.baselines.empty()) in.fail(compares ? "worse" : "baseline", "the name of a variant, or several");
  }
  if (c.kind == Kind::ratio || c.kind == Kind::closeness) c.limit = in.number("limit", Range::above(0.0));
  if (c.kind == Kind::level) c.limit = in.number("reference", 0.0);
  if (c.kind == Kind::ladder && c.variants.size() != c.baselines.size())
    in.fail("variant", "as many names as in \"baseline\"");
  if (c.kind == Kind::ladder && c.variants.size() < 4) in.fail("variant", "at least four sizes, rising");
  if (c.kind == Kind::tokens && c.baselines.size() < 3)
    in.fail("baseline", "at least three lengths of one variant, rising");
  if ((compares && c.baselines.size() != 1) || (alone && c.variants.size() != 1))
    in.fail("name", "a contrast of one variant with one");
  in.finish();
  return c;
}

const Variant* find_variant(const Claim& claim, const std::string& name) {
  const auto it =
      std::find_if(claim.variants.begin(), claim.variants.end(), [&](const Variant& a) { return a.name == name; });
  return it == claim.variants.end() ? nullptr : &*it;
}

std::vector<std::string> lr_sources(const Variant& variant) {
  return variant.lr_from.empty() ? variant.lr_law : std::vector<std::string>{variant.lr_from};
}

// The variants that must be there for this one.
std::vector<std::string> sources(const Variant& variant) {
  std::vector<std::string> out = lr_sources(variant);
  if (!variant.trunk.empty()) out.push_back(variant.trunk);
  return out;
}

void check_names(const Claim& claim, const std::string& file) {
  std::vector<std::string> known;
  for (const Variant& a : claim.variants) known.push_back(a.name);
  const auto check = [&](const std::string& name, const std::string& where) {
    if (find_variant(claim, name)) return;
    const std::string near = nearest_word(name, known);
    throw ConfigError(file + ": " + where + ": no variant is called \"" + name + "\"" +
                      (near.empty() ? "" : "; did you mean \"" + near + "\"?"));
  };
  check(claim.baseline, "baseline");
  for (const std::string& name : claim.probes) check(name, "probe");
  for (const Contrast& c : claim.contrasts)
    for (const auto* names : {&c.variants, &c.baselines})
      for (const std::string& name : *names) check(name, "contrast \"" + c.name + "\"");
  for (const Variant& a : claim.variants)
    if (!a.trunk.empty()) {
      check(a.trunk, "variants." + a.name + ".trunk");
      if (!find_variant(claim, a.trunk)->trunk.empty())
        throw ConfigError(file + ": variants." + a.name + ".trunk: \"" + a.trunk +
                          "\" goes on from another run itself");
    }
  for (const Variant& a : claim.variants)
    for (const std::string& from : lr_sources(a)) {
      const std::string where = "variants." + a.name + (a.lr_law.empty() ? ".lr_from" : ".lr_law");
      check(from, where);
      if (!find_variant(claim, from)->tuned())
        throw ConfigError(file + ": " + where + ": \"" + from + "\" takes its lr from another variant itself");
    }
}

// The variants that the claim's contrasts name, from its own and the ledger's.
void keep_used(Claim& claim) {
  std::set<std::string> used{claim.baseline};
  for (const Contrast& c : claim.contrasts) {
    used.insert(c.variants.begin(), c.variants.end());
    used.insert(c.baselines.begin(), c.baselines.end());
  }
  // Twice: a trunk takes its lr from a variant, too.
  for (int i = 0; i < 2; ++i)
    for (const Variant& a : claim.variants)
      if (used.count(a.name))
        for (const std::string& from : sources(a)) used.insert(from);
  std::erase_if(claim.variants, [&](const Variant& a) { return !used.count(a.name); });
}

Claim read_claim(const std::string& file, const std::string& text, const std::vector<Variant>& common,
                 const std::map<std::string, Tier>& tiers) {
  const json root = parse_json(text, file);
  JsonReader in(root, file);
  Claim c;
  c.id = in.string("id");
  if (file != c.id + ".json") in.fail("id", "the file's name without .json");
  c.title = in.string("title");
  c.statement = in.string("statement");
  c.sources = in.strings("sources", {});
  c.against = in.strings("against", {});
  c.rule = in.string("rule");
  c.quoted = in.string("quoted", "");
  c.judged = in.boolean("judged", true);
  c.unit = in.string("unit", "nats per token");
  c.times = in.boolean("times", false);
  JsonReader theory = in.object("theory");
  c.figures = theory.strings("figures", {});
  c.theory_reading = theory.choice("reading", "silent", {"confirmed", "contradicted", "conditional", "silent"});
  c.theory_says = theory.string("says", "");
  theory.finish();
  if (in.has("toy")) {
    JsonReader toy = in.object("toy");
    c.toy = ToyClaim{toy.value("problem"), toy.value("worse"), toy.value("better"),
                     toy.number("smallest_effect", 0.05, Range::at_least(0.0))};
    toy.finish();
  }
  const double effect = in.number("smallest_effect", Range::at_least(0.0));
  c.baseline = in.string("baseline", "plain");
  std::vector<std::string> tier_names;
  for (const auto& [name, tier] : tiers) tier_names.push_back(name);
  c.variants = read_variants(in, file, tier_names);
  for (const Variant& variant : common)
    if (!find_variant(c, variant.name)) c.variants.push_back(variant);
  for (JsonReader& contrast : in.objects("contrasts")) c.contrasts.push_back(read_contrast(contrast, effect));
  if (std::none_of(c.contrasts.begin(), c.contrasts.end(), [](const Contrast& x) { return x.decides; }))
    in.fail("contrasts", "at least one that decides");
  c.probes = in.strings("probe", {});
  JsonReader own = in.object("tiers");
  for (const auto& [name, tier] : tiers) {
    if (!own.has(name)) continue;
    JsonReader choice = own.object(name);
    static_cast<void>(read_choice(choice, tier.choice));
    choice.finish();
    c.tiers[name] = own.value(name);
  }
  own.finish();
  in.finish();
  check_names(c, file);
  keep_used(c);
  return c;
}

}  // namespace

const Claim& Ledger::claim(const std::string& id) const {
  std::vector<std::string> known;
  for (const Claim& c : claims) {
    if (c.id == id) return c;
    known.push_back(c.id);
  }
  const std::string near = nearest_word(id, known);
  std::string text =
      "claims: unknown claim \"" + id + "\"" + (near.empty() ? "; known:" : "; did you mean \"" + near + "\"? Known:");
  for (size_t i = 0; i < known.size(); ++i) text += (i ? ", " : " ") + known[i];
  throw UsageError(text);
}

TierChoice Ledger::choice(const Claim& claim, const std::string& tier) const {
  const TierChoice& common = tiers.at(tier).choice;
  const auto own = claim.tiers.find(tier);
  if (own == claim.tiers.end()) return common;
  JsonReader in(own->second, claim.id + ".tiers." + tier);
  return read_choice(in, common);
}

bool Ledger::runs_at(const Claim& claim, const std::string& tier) const {
  if (claim.times != (tier == kTimesTier)) return false;
  const std::vector<std::string>& ids = tiers.at(tier).claims;
  return ids.empty() || std::count(ids.begin(), ids.end(), claim.id) > 0;
}

bool Ledger::runs_on(const Claim& claim, const std::string& tier, const std::string& text) const {
  if (!runs_at(claim, tier)) return false;
  const std::vector<std::string> texts = choice(claim, tier).texts;
  return texts.empty() || std::count(texts.begin(), texts.end(), text) > 0;
}

std::int64_t Ledger::hypotheses(const std::string& tier, std::int64_t given) const {
  std::int64_t out = 0;
  for (const Claim& claim : claims) {
    if (!runs_at(claim, tier)) continue;
    const auto texts = static_cast<std::int64_t>(choice(claim, tier).texts.size());
    for (const Contrast& c : claim.contrasts)
      if (claim.judged && c.decides) out += texts ? texts : given;
  }
  return out;
}

json Ledger::variant_config(const Claim& claim, const Variant& variant, const std::string& tier,
                            const std::string& text) const {
  json config = tiers.at(tier).base;
  const TierChoice chosen = choice(claim, tier);
  const auto set = [&](const json& overrides) {
    for (const auto& [key, value] : overrides.items()) set_at(config, key, value, claim.id + ": " + variant.name);
  };
  set(chosen.overrides);
  if (const auto own = chosen.text_overrides.find(text); own != chosen.text_overrides.end()) set(own->second);
  set(variant.overrides);
  if (const auto own = variant.tiers.find(tier); own != variant.tiers.end()) set(own->second);
  if (variant.steps_factor != 1.0)
    config["steps"] = std::llround(variant.steps_factor * config.at("steps").get<double>());
  return config;
}

Ledger read_ledger(const LedgerFiles& files) {
  const auto setup = std::find_if(files.begin(), files.end(), [](const auto& f) { return f.first == "setup.json"; });
  if (setup == files.end())
    throw ConfigError("--ledger: the folder has no setup.json, which says what every claim shares");
  const json root = parse_json(setup->second, setup->first);
  JsonReader in(root, "setup.json");
  Ledger ledger;
  std::vector<std::string> order = in.strings("order", {});
  // A claim that was added later comes after them: naming it here would change the hash of every other.
  for (const auto& [name, text] : files)
    if (const std::string id = name.substr(0, name.find('.'));
        name != setup->first && !std::count(order.begin(), order.end(), id))
      order.push_back(id);
  const json base = in.value("base");
  const json& tiers = in.value("tiers");
  if (!tiers.is_object()) in.fail("tiers", "an object: name to what it runs");
  const std::vector<Variant> common = read_variants(in, "setup.json", names_of(tiers));
  for (const auto& [name, body] : tiers.items()) {
    JsonReader reader(body, "setup.json: tiers." + name);
    Tier tier{name,
              reader.string("purpose"),
              reader.boolean("decides", true),
              reader.boolean("needs_text", true),
              reader.strings("claims", {}),
              base,
              read_choice(reader, {})};
    if (tier.choice.lrs.empty() || tier.choice.tuning_seeds.empty() || tier.choice.looks.empty())
      reader.fail("lrs", "lrs, tuning_seeds and looks, all three");
    reader.finish();
    for (const auto& [key, value] : tier.choice.overrides.items())
      set_at(tier.base, key, value, "setup.json: tiers." + name);
    tier.choice.overrides = json::object();
    ledger.tiers[name] = std::move(tier);
  }
  in.finish();
  for (const std::string& id : order) {
    const auto file = std::find_if(files.begin(), files.end(), [&](const auto& f) { return f.first == id + ".json"; });
    if (file == files.end()) throw ConfigError("setup.json: order: there is no " + id + ".json");
    ledger.claims.push_back(read_claim(file->first, file->second, common, ledger.tiers));
    ledger.claims.back().hash = sha256(file->second + setup->second);
  }
  for (const auto& [name, tier] : ledger.tiers)
    for (const std::string& id : tier.claims) static_cast<void>(ledger.claim(id));
  return ledger;
}

LedgerFiles ledger_files(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) throw UsageError("--ledger: " + folder.string() + " is not a folder");
  LedgerFiles files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".json")
      files.emplace_back(entry.path().filename().string(), read_whole(entry.path()));
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace scalevec::experiments
