#include "experiments/claims/joined.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

// Of "0.1M" 0.1, of "1B" 1000; of other text -1.
double millions(const std::string& level) {
  char* end = nullptr;
  const double x = std::strtod(level.c_str(), &end);
  const std::string unit = end;
  return unit == "M" ? x : unit == "B" ? 1000.0 * x : -1.0;
}

// The evidence that a file has of a claim, which keeps what is about the claim itself.
json taken_evidence(json& claim) {
  json evidence = claim.at("evidence");
  bool first = true;
  for (json& entry : evidence) {
    if (!entry.contains("hash")) entry["hash"] = claim.value("hash", "");
    for (const char* key : {"first_seed", "mechanism"})
      if (!entry.contains(key) && claim.contains(key) && (first || std::string(key) != "mechanism"))
        entry[key] = claim[key];
    first = false;
  }
  for (const char* key : {"evidence", "contrasts", "tuning", "pilot", "mechanism", "first_seed", "hash"})
    claim.erase(key);
  return evidence;
}

// What a claim's evidence says together.
void conclude(json& claim) {
  std::stable_sort(claim["evidence"].begin(), claim["evidence"].end(), [](const json& a, const json& b) {
    return millions(text_at(a, "level")) < millions(text_at(b, "level"));
  });
  json at = json::array();
  for (const json& entry : claim["evidence"]) {
    const json& contrasts = entry.at("contrasts");
    if (std::none_of(contrasts.begin(), contrasts.end(), [](const json& c) { return c.at("decides").get<bool>(); }))
      continue;
    if (at.empty() || at.back()["level"] != text_at(entry, "level"))
      at.push_back({{"level", text_at(entry, "level")}, {"texts", json::array()}});
    at.back()["texts"].push_back({{"text", text_at(entry, "text")}, {"verdict", text_at(entry, "verdict")}});
  }
  const bool judged = claim.value("judged", true);
  std::string verdict = judged ? to_string(Verdict::inconclusive) : "not judged", decided = "";
  for (json& level : at) {
    std::vector<Verdict> verdicts;
    for (const json& text : level["texts"]) verdicts.push_back(read_verdict(text));
    level["verdict"] = judged ? to_string(combined(verdicts)) : "not judged";
    // Rising levels: a larger one that says something replaces a smaller one.
    if (verdict == to_string(Verdict::inconclusive) || !judged ||
        level["verdict"] != to_string(Verdict::inconclusive)) {
      verdict = level["verdict"];
      decided = level["level"];
    }
  }
  claim["at"] = at;
  claim["verdict"] = verdict;
  claim["decided_at"] = decided;
}

}  // namespace

std::string level_of_size(double parameters) {
  const double power = std::pow(10.0, std::round(std::log10(parameters)));
  return std::isfinite(power) ? printed("%gM", power / 1e6) : "";
}

Verdict read_verdict(const json& object) {
  for (const Verdict v : {Verdict::confirmed, Verdict::contradicted, Verdict::not_confirmed})
    if (text_at(object, "verdict") == to_string(v)) return v;
  return Verdict::inconclusive;
}

json joined_ledgers(const std::vector<json>& files) {
  json out{{"kind", "ledger"}, {"parts", json::array()}, {"claims", json::array()}};
  for (json file : files) {
    json claims = std::move(file["claims"]);
    file.erase("claims");
    if (file.contains("parts"))
      for (json& part : file["parts"]) out["parts"].push_back(std::move(part));
    else
      out["parts"].push_back(file);
    for (json& claim : claims) {
      json evidence = taken_evidence(claim);
      const auto known = std::find_if(out["claims"].begin(), out["claims"].end(),
                                      [&](const json& c) { return c.at("id") == claim.at("id"); });
      json& to =
          known == out["claims"].end() ? (out["claims"].push_back(std::move(claim)), out["claims"].back()) : *known;
      for (json& entry : evidence) to["evidence"].push_back(std::move(entry));
    }
  }
  for (json& claim : out["claims"]) conclude(claim);
  return out;
}

json joined_files(const std::vector<std::string>& files, const std::string& option) {
  std::vector<json> ledgers;
  for (const std::string& file : files) {
    auto judged = read_json_if_whole(file);
    if (!judged || text_at(*judged, "kind") != "ledger") throw UsageError(option + ": " + file + " is no claims.json");
    for (const json& claim : judged->at("claims"))
      if (!claim.contains("evidence"))
        throw UsageError(option + ": " + file + ": its claims have no \"evidence\", as in files of earlier versions");
    ledgers.push_back(std::move(*judged));
  }
  return joined_ledgers(ledgers);
}

std::vector<json> evidence_at(const json& claim, const std::string& level) {
  std::vector<json> out;
  for (const json& entry : claim.at("evidence"))
    if (text_at(entry, "level") == level) out.push_back(entry);
  return out;
}

const json& leading_contrast(const json& entry) {
  const json& all = entry.at("contrasts");
  const std::string verdict = text_at(entry, "verdict");
  const auto first = [&](bool of_verdict) {
    return std::find_if(all.begin(), all.end(), [&](const json& c) {
      return c.at("decides").get<bool>() && (!of_verdict || text_at(c.at("judgement"), "verdict") == verdict);
    });
  };
  if (const auto it = first(true); it != all.end()) return *it;
  const auto it = first(false);
  return it == all.end() ? all.front() : *it;
}

std::vector<std::string> levels_of(const json& ledger) {
  std::set<std::string> names;
  for (const json& claim : ledger.at("claims"))
    for (const json& level : claim.at("at")) names.insert(text_at(level, "level"));
  if (std::any_of(names.begin(), names.end(), [](const std::string& n) { return millions(n) > 0.0; }))
    names.insert({"0.1M", "1M", "10M"});
  std::vector<std::string> out(names.begin(), names.end());
  std::sort(out.begin(), out.end(),
            [](const std::string& a, const std::string& b) { return millions(a) < millions(b); });
  return out;
}

}  // namespace scalevec::experiments
