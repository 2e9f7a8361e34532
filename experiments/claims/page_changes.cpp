#include "experiments/claims/page_changes.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "experiments/claims/joined.hpp"
#include "experiments/claims/page.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using html::escape;
using nlohmann::json;

const json* find_claim(const json& ledger, const std::string& id) {
  for (const json& claim : ledger.at("claims"))
    if (text_at(claim, "id") == id) return &claim;
  return nullptr;
}

// The first entry at the level where a claim is decided.
json deciding_entry(const json& claim) {
  const std::vector<json> entries = evidence_at(claim, text_at(claim, "decided_at"));
  return entries.empty() ? json() : entries.front();
}

std::map<std::string, double> lrs_of(const json& contrast) {
  std::map<std::string, double> out;
  if (text_at(contrast, "at") != "turns")
    for (const char* side : {"better", "worse"})
      for (const json& a : array_at(contrast, side)) out[text_at(a, "variant")] = number_at(a, "lr");
  return out;
}

// What is different about the evidence of a claim.
std::vector<std::string> differences(const json& then, const json& now) {
  std::vector<std::string> out;
  if (!now.value("judged", true)) out.push_back("shown, no longer judged");
  if (text_at(then, "rule") != text_at(now, "rule")) out.push_back("another rule");
  const json before = deciding_entry(then), after = deciding_entry(now);
  if (before.is_null() || after.is_null()) return out;
  if (const std::string a = text_at(before, "level"), b = text_at(after, "level"); a != b)
    out.push_back("decided at " + level_name(b) + " instead of " + level_name(a));
  std::vector<std::string> texts;
  for (const json& e : evidence_at(now, text_at(now, "decided_at")))
    if (!text_at(e, "text").empty()) texts.push_back(text_at(e, "text"));
  if (texts.size() > 1) out.push_back("on " + joined(texts));
  const json &old_contrast = leading_contrast(before), &contrast = leading_contrast(after);
  if (text_at(old_contrast, "name") != text_at(contrast, "name"))
    out.push_back("another contrast: " + text_at(contrast, "name"));
  if (const double a = number_at(old_contrast, "pairs"), b = number_at(contrast, "pairs"); a != b)
    out.push_back(short_number(b) + " pairs, not " + short_number(a));
  const std::map<std::string, double> old_lrs = lrs_of(old_contrast);
  for (const auto& [variant, lr] : lrs_of(contrast))
    if (const auto old = old_lrs.find(variant); old != old_lrs.end() && std::isfinite(lr) && old->second != lr)
      out.push_back("lr of " + variant + " " + short_number(lr) + ", not " + short_number(old->second));
  return out;
}

std::string effect_of(const json& claim) {
  const json entry = deciding_entry(claim);
  return entry.is_null() ? "" : html::number(effect_text(leading_contrast(entry)));
}

}  // namespace

std::string changes_section(const json& ledger, const json& since) {
  if (since.is_null()) return "";
  std::vector<std::vector<std::string>> rows;
  for (const json& then : since.at("claims")) {
    const std::string id = text_at(then, "id");
    const json* now = find_claim(ledger, id);
    std::vector<std::string> why = now ? differences(then, *now) : std::vector<std::string>{"no longer in the ledger"};
    for (std::string& text : why) text = escape(text);
    rows.push_back({"<strong>" + escape(id) + "</strong>", verdict_mark(text_at(then, "verdict")),
                    now ? verdict_mark(text_at(*now, "verdict")) : "", effect_of(then), now ? effect_of(*now) : "",
                    joined(why, "; ")});
  }
  for (const json& now : ledger.at("claims"))
    if (!find_claim(since, text_at(now, "id")))
      rows.push_back({"<strong>" + escape(text_at(now, "id")) + "</strong>", "", verdict_mark(text_at(now, "verdict")),
                      "", effect_of(now), "new"});
  return "<h2 id=\"changes\">What changed since the last ledger</h2>\n" +
         html::table({"Claim", "Then", "Now", "Effect then", "Effect now", "What is different"}, rows, 6);
}

std::string failures_section(const json& ledger) {
  std::vector<std::string> items;
  for (const json& part : ledger.at("parts")) {
    const json& runs = part.at("runs");
    const std::string tier = text_at(part, "tier");
    if (const double n = number_at(runs, "diverged"); n > 0.0)
      items.push_back(escape(tier + ": " + short_number(n) + " runs diverged"));
    for (const json& run : runs.at("failed"))
      items.push_back(escape(tier + ": " + text_at(run, "run") + ": " + text_at(run, "reason")));
  }
  std::set<std::string> problems;
  for (const json& claim : ledger.at("claims")) {
    const std::string id = text_at(claim, "id");
    for (const json& entry : claim.at("evidence")) {
      const json tuning = entry.value("tuning", json::object());
      for (const auto& [variant, t] : tuning.items())
        if (const std::string problem = text_at(t, "problem"); !problem.empty())
          problems.insert(escape(entry_name(entry) + ": " + problem));
      if (const std::string reason = text_at(entry, "reason"); !reason.empty())
        items.push_back("<strong>" + escape(id) + "</strong>, " +
                        escape(entry_name(entry) + ": inconclusive: " + reason));
    }
    if (const std::string headline = text_at(claim, "headline"); headline.starts_with("levels disagree"))
      items.push_back("<strong>" + escape(id) + "</strong>: " + escape(headline));
  }
  items.insert(items.end(), problems.begin(), problems.end());
  return "<h2 id=\"failures\">What failed or disagrees</h2>\n" +
         (items.empty() ? "<p>No run failed or diverged, every learning rate was found, and no levels disagree.</p>\n"
                        : html::list(items));
}

}  // namespace scalevec::experiments
