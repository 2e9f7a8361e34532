#include "experiments/claims/claim.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/claims/metrics.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/overrides.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/sha256.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;
using Kind = Contrast::Kind;

std::vector<double> read_lrs(JsonReader& in) {
  const json& values = in.value("lrs");
  std::vector<double> lrs;
  if (!values.is_array() || values.empty()) in.fail("lrs", "an array of learning rates, rising");
  for (const json& v : values) {
    if (!v.is_number() || !(v.get<double>() > 0.0) || (!lrs.empty() && v.get<double>() <= lrs.back()))
      in.fail("lrs", "an array of learning rates, rising");
    lrs.push_back(v.get<double>());
  }
  return lrs;
}

TierChoice read_choice(JsonReader& in, TierChoice choice) {
  if (in.has("lrs")) choice.lrs = read_lrs(in);
  choice.tuning_seeds = in.integers("tuning_seeds", choice.tuning_seeds, Range::at_least(1001));
  choice.first_seed = in.integer("first_seed", choice.first_seed, Range::between(1, 1000));
  // Tuning seeds begin at 1001.
  choice.seeds = in.integer("seeds", choice.seeds, Range::between(1, 1001 - choice.first_seed));
  choice.extensions = in.integer("extensions", choice.extensions, Range::between(0, 16));
  if (in.has("set"))
    for (const auto& [key, value] : in.value("set").items()) choice.overrides[key] = value;
  return choice;
}

json read_overrides(JsonReader& in, const std::string& key) {
  if (!in.has(key)) return json::object();
  if (!in.value(key).is_object()) in.fail(key, "an object of overrides by dotted key");
  return in.value(key);
}

Arm read_arm(const std::string& name, JsonReader in, const std::vector<std::string>& tiers) {
  Arm arm{name,
          read_overrides(in, "set"),
          {},
          in.number("steps_factor", 1.0, Range::above(0.0)),
          in.string("lr_from", ""),
          in.integer("most_tuning_seeds", 0, Range::at_least(1))};
  for (const std::string& tier : tiers)
    if (in.has(tier)) arm.tiers[tier] = read_overrides(in, tier);
  in.finish();
  return arm;
}

std::vector<Arm> read_arms(JsonReader& parent, const std::string& what, const std::vector<std::string>& tiers) {
  std::vector<Arm> arms;
  if (!parent.has("arms")) return arms;
  const json& all = parent.value("arms");
  if (!all.is_object()) parent.fail("arms", "an object: name to overrides");
  for (const auto& [name, body] : all.items())
    arms.push_back(read_arm(name, JsonReader(body, what + ": arms." + name), tiers));
  return arms;
}

std::vector<std::string> names_of(const json& object) {
  std::vector<std::string> names;
  for (const auto& [name, body] : object.items()) names.push_back(name);
  return names;
}

Contrast read_contrast(JsonReader in, double smallest_effect) {
  static const std::vector<std::pair<std::string, Kind>> kinds{
      {"difference", Kind::difference}, {"ratio", Kind::ratio},       {"level", Kind::level},
      {"closeness", Kind::closeness},   {"lr_shift", Kind::lr_shift}, {"ladder", Kind::ladder},
      {"tokens", Kind::tokens}};
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
  c.arms = in.strings(compares ? "better" : "arm", {});
  if (c.arms.empty()) in.fail(compares ? "better" : "arm", "the name of an arm, or several");
  const bool alone = c.kind == Kind::level || c.kind == Kind::closeness;
  if (!alone) {
    c.baselines = in.strings(compares ? "worse" : "baseline", {});
    if (c.baselines.empty()) in.fail(compares ? "worse" : "baseline", "the name of an arm, or several");
  }
  if (c.kind == Kind::ratio || c.kind == Kind::closeness) c.limit = in.number("limit", Range::above(0.0));
  if (c.kind == Kind::level) c.limit = in.number("reference", 0.0);
  const bool pairwise = c.kind == Kind::lr_shift || c.kind == Kind::ladder;
  if (pairwise && c.arms.size() != c.baselines.size()) in.fail("arm", "as many names as in \"baseline\"");
  if (c.kind == Kind::lr_shift && c.arms.size() != 2)
    in.fail("arm", "two arms: those that should shift, and those that should not");
  if (c.kind == Kind::ladder && c.arms.size() < 4) in.fail("arm", "at least four sizes, rising");
  if (c.kind == Kind::tokens && c.baselines.size() < 3)
    in.fail("baseline", "at least three lengths of one arm, rising");
  if ((compares && c.baselines.size() != 1) || (alone && c.arms.size() != 1))
    in.fail("name", "a contrast of one arm with one");
  in.finish();
  return c;
}

const Arm* find_arm(const Claim& claim, const std::string& name) {
  const auto it = std::find_if(claim.arms.begin(), claim.arms.end(), [&](const Arm& a) { return a.name == name; });
  return it == claim.arms.end() ? nullptr : &*it;
}

void check_names(const Claim& claim, const std::string& file) {
  std::vector<std::string> known;
  for (const Arm& a : claim.arms) known.push_back(a.name);
  const auto check = [&](const std::string& name, const std::string& where) {
    if (find_arm(claim, name)) return;
    const std::string near = nearest_word(name, known);
    throw ConfigError(file + ": " + where + ": no arm is called \"" + name + "\"" +
                      (near.empty() ? "" : "; did you mean \"" + near + "\"?"));
  };
  check(claim.baseline, "baseline");
  for (const std::string& name : claim.probes) check(name, "probe");
  for (const Contrast& c : claim.contrasts)
    for (const auto* names : {&c.arms, &c.baselines})
      for (const std::string& name : *names) check(name, "contrast \"" + c.name + "\"");
  for (const Arm& a : claim.arms)
    if (!a.lr_from.empty()) {
      check(a.lr_from, "arms." + a.name + ".lr_from");
      if (!find_arm(claim, a.lr_from)->lr_from.empty())
        throw ConfigError(file + ": arms." + a.name + ".lr_from: \"" + a.lr_from +
                          "\" takes its lr from another arm itself");
    }
}

// The arms that the claim's contrasts name, from its own and the ledger's.
void keep_used(Claim& claim) {
  std::set<std::string> used{claim.baseline};
  for (const Contrast& c : claim.contrasts) {
    used.insert(c.arms.begin(), c.arms.end());
    used.insert(c.baselines.begin(), c.baselines.end());
  }
  for (const Arm& a : claim.arms)
    if (used.count(a.name) && !a.lr_from.empty()) used.insert(a.lr_from);
  std::erase_if(claim.arms, [&](const Arm& a) { return !used.count(a.name); });
}

Claim read_claim(const std::string& file, const std::string& text, const std::vector<Arm>& common,
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
  c.arms = read_arms(in, file, tier_names);
  for (const Arm& arm : common)
    if (!find_arm(c, arm.name)) c.arms.push_back(arm);
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

json Ledger::arm_config(const Claim& claim, const Arm& arm, const std::string& tier) const {
  json config = tiers.at(tier).base;
  const TierChoice chosen = choice(claim, tier);
  const auto set = [&](const json& overrides) {
    for (const auto& [key, value] : overrides.items()) set_at(config, key, value, claim.id + ": " + arm.name);
  };
  set(chosen.overrides);
  set(arm.overrides);
  if (const auto own = arm.tiers.find(tier); own != arm.tiers.end()) set(own->second);
  if (arm.steps_factor != 1.0) config["steps"] = std::llround(arm.steps_factor * config.at("steps").get<double>());
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
  const std::vector<Arm> common = read_arms(in, "setup.json", names_of(tiers));
  for (const auto& [name, body] : tiers.items()) {
    JsonReader reader(body, "setup.json: tiers." + name);
    Tier tier{name, reader.string("purpose"), reader.boolean("decides", true), reader.boolean("needs_text", true),
              base, read_choice(reader, {})};
    if (tier.choice.lrs.empty() || tier.choice.tuning_seeds.empty() || tier.choice.seeds < 1)
      reader.fail("lrs", "lrs, tuning_seeds and seeds, all three");
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
