#include "experiments/claims/page.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/claims/joined.hpp"
#include "experiments/claims/page_changes.hpp"
#include "experiments/claims/page_claim.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/staging_folder.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using html::escape;
using nlohmann::json;

std::string signed_number(double x) { return printed(std::abs(x) < 10.0 ? "%+.4f" : "%+.4g", x); }

std::string theory_of(const json& claim, const char* which) {
  return claim.contains("levels") ? text_at(claim.at("levels"), which) : "";
}

const json* at_level(const json& claim, const std::string& level) {
  for (const json& at : claim.at("at"))
    if (text_at(at, "level") == level) return &at;
  return nullptr;
}

bool is_judged(const json& claim) { return claim.value("judged", true); }

// A verdict, and where texts disagree what each says.
std::string level_cell(const json& at) {
  const json& texts = at.at("texts");
  std::string out = verdict_mark(text_at(at, "verdict"));
  if (std::all_of(texts.begin(), texts.end(), [&](const json& t) { return t.at("verdict") == texts[0].at("verdict"); }))
    return out;
  for (const json& t : texts)
    out += "<br><span class=\"sub\">" + escape(text_at(t, "text")) + ": " + escape(text_at(t, "verdict")) + "</span>";
  return out;
}

std::string absent(const char* word) { return std::string("<span class=\"sub\">") + word + "</span>"; }

// A line per text at the level where the claim is decided.
std::string effect_cell(const json& claim) {
  std::string out;
  bool named = false;
  for (const json& entry : evidence_at(claim, text_at(claim, "decided_at"))) {
    const json& c = leading_contrast(entry);
    if (!c.at("decides").get<bool>() && is_judged(claim)) continue;
    const std::string text = text_at(entry, "text");
    const bool has_unit = !named && !c.contains("ratio") && c.at("gain").is_number();
    std::vector<std::string> words{has_unit ? text_at(claim, "unit") : "", text_at(entry, "text")};
    std::erase(words, "");
    out += (out.empty() ? "" : "<br>") + html::number(effect_text(c)) + " <span class=\"sub\">" +
           escape(joined(words)) + "</span>";
    if (named) continue;
    named = true;
    const json& all = entry.at("contrasts");
    if (std::count_if(all.begin(), all.end(), [](const json& x) { return x.at("decides").get<bool>(); }) > 1)
      out += "<br><span class=\"sub\">" + escape(text_at(c, "name")) + "</span>";
  }
  return out;
}

std::string summary_table(const json& ledger, bool judged) {
  const std::vector<std::string> levels = levels_of(ledger);
  std::vector<std::string> head{"Claim", "Theory", "Toy"};
  for (const std::string& level : levels) head.push_back(escape(level_name(level)));
  head.insert(head.end(), {"Effect [interval]", "The paper, quoted"});
  std::vector<std::vector<std::string>> rows;
  for (const json& claim : ledger.at("claims")) {
    if (is_judged(claim) != judged) continue;
    const std::string id = text_at(claim, "id"), toy = theory_of(claim, "toy");
    rows.push_back(
        {"<a href=\"#" + id + "\"><strong>" + escape(id) + "</strong></a><br>" + escape(text_at(claim, "title")),
         verdict_mark(theory_of(claim, "theory")), toy == "none" ? absent("none") : verdict_mark(toy)});
    for (const std::string& level : levels) {
      const json* at = at_level(claim, level);
      rows.back().push_back(at ? level_cell(*at) : absent("not run"));
    }
    rows.back().push_back("<div class=\"wide\">" + effect_cell(claim) + "</div>");
    rows.back().push_back("<span class=\"sub\">" + escape(text_at(claim, "quoted")) + "</span>");
  }
  return rows.empty() ? "" : html::table(head, rows, head.size());
}

std::string head_text(const json& ledger) {
  size_t made = 0, diverged = 0, failed = 0;
  double hours = 0.0;
  std::vector<std::string> texts;
  for (const json& part : ledger.at("parts")) {
    made += part.at("runs").at("made").get<size_t>();
    diverged += part.at("runs").at("diverged").get<size_t>();
    failed += part.at("runs").at("failed").size();
    const json provenance = part.value("provenance", json::object());
    const double own = number_at(provenance, "core_hours"), seconds = number_at(provenance, "seconds");
    hours += std::isfinite(own) ? own : std::isfinite(seconds) ? seconds / 3600.0 : 0.0;
  }
  const bool decides = std::any_of(ledger.at("parts").begin(), ledger.at("parts").end(),
                                   [](const json& part) { return part.at("decides").get<bool>(); });
  return std::to_string(ledger.at("claims").size()) + " claims; " + std::to_string(made) + " runs, of which " +
         std::to_string(diverged) + " diverged and " + std::to_string(failed) + " failed; " +
         printed("%.4g core-hours.", hours) +
         (decides ? "" : " No verdict is drawn from this tier's runs, whatever their intervals.");
}

// What each file says about how it was judged.
std::string method_text(const json& ledger) {
  std::vector<std::string> said;
  for (const json& part : ledger.at("parts")) {
    std::string one =
        "<h3>" + escape(text_at(part, "tier")) + "</h3>\n<p>" + escape(text_at(part, "purpose")) + "</p>\n";
    std::vector<std::string> items;
    for (const json& line : array_at(part, "method")) items.push_back(escape(line.get<std::string>()));
    for (const json& text : array_at(part, "texts")) {
      std::string item = "Text " + text_at(text, "name");
      if (text.contains("train_tokens"))
        item += printed(": %.3g million training tokens, vocabulary %g, SHA-256 ",
                        number_at(text, "train_tokens") / 1e6, number_at(text, "vocab_size")) +
                text_at(text, "data_hash").substr(0, 16) + "…";
      items.push_back(escape(item));
    }
    if (!items.empty()) one += html::list(items);
    if (std::find(said.begin(), said.end(), one) == said.end()) said.push_back(one);
  }
  return joined(said, "");
}

std::string provenance_text(const json& value) {
  if (value.is_number()) return fixed_text(value.get<double>() / 3600.0, 2) + " hours of runs";
  return value.is_array() ? joined(value.get<std::vector<std::string>>(), "; ") : "";
}

std::string reproduction(const json& ledger) {
  std::string out = "<h2>Reproduction</h2>\n";
  for (const json& part : ledger.at("parts")) {
    out += "<pre>" + escape(text_at(part, "command")) + "</pre>\n";
    std::vector<std::pair<std::string, std::string>> items;
    const json provenance = part.value("provenance", json::object());
    for (const auto& [key, value] : provenance.items())
      if (key != "core_hours") items.emplace_back(key, escape(provenance_text(value)));
    out += html::terms(items);
  }
  return out;
}

}  // namespace

std::string withheld_reason(const std::string& tier) {
  return "a " + tier + " ledger shows that the machinery works and decides nothing";
}

std::string gain_text(const json& contrast) {
  const json& j = contrast.at("judgement");
  if (!contrast.at("gain").is_number()) return "no gain measured";
  std::string text = signed_number(number_at(contrast, "gain"));
  if (j.at("low").is_number())
    text += " [" + signed_number(number_at(j, "low")) + ", " + signed_number(number_at(j, "high")) + "]";
  return text;
}

std::string effect_text(const json& contrast) {
  const json ratio = contrast.value("ratio", json::object());
  if (!std::isfinite(number_at(ratio, "estimate"))) return gain_text(contrast);
  return printed("%.3f [%.3f, %.3f] ×", number_at(ratio, "estimate"), number_at(ratio, "low"),
                 number_at(ratio, "high"));
}

std::string verdict_mark(const std::string& verdict) {
  if (verdict.empty()) return "";
  const char* tone = verdict == "confirmed"       ? "good"
                     : verdict == "contradicted"  ? "bad"
                     : verdict == "not confirmed" ? "doubt"
                                                  : "soft";
  return std::string("<strong class=\"verdict ") + tone + "\">" + escape(verdict) + "</strong>";
}

std::string level_name(const std::string& level) {
  if (level.empty()) return "Language models";
  return level.substr(0, level.size() - 1) + " " + level.back();
}

std::string entry_name(const json& entry) {
  const std::string text = text_at(entry, "text");
  return level_name(text_at(entry, "level")) + (text.empty() ? "" : ", " + text);
}

std::string picture_name(const std::string& claim, const json& entry, const std::string& kind) {
  std::string name = claim;
  for (const std::string& part : {text_at(entry, "tier"), text_at(entry, "text"), kind})
    if (!part.empty()) name += "-" + part;
  return name;
}

std::string ledger_text(const json& ledger) {
  std::vector<std::vector<std::string>> lines{
      {"claim", "at", "gain [interval]", "of interest", "pairs", "theory", "toy", "verdict"}};
  std::string reasons;
  bool decides = false;
  for (const json& part : ledger.at("parts")) decides = decides || part.at("decides").get<bool>();
  for (const json& claim : ledger.at("claims"))
    for (const json& entry : claim.at("evidence")) {
      const json& c = leading_contrast(entry);
      const std::string id = text_at(claim, "id"), reason = text_at(entry, "reason");
      lines.push_back({id, entry_name(entry), effect_text(c), fixed_text(number_at(c, "smallest_effect"), 3),
                       c.at("pairs").dump(), theory_of(claim, "theory"), theory_of(claim, "toy"),
                       text_at(entry, "verdict")});
      if (!reason.empty()) reasons += id + ", " + entry_name(entry) + ": inconclusive: " + reason + "\n";
    }
  for (const json& claim : ledger.at("claims"))
    if (const std::string headline = text_at(claim, "headline"); headline.starts_with("levels disagree"))
      reasons += text_at(claim, "id") + ": " + headline + "\n";
  return columns_text(lines) +
         (decides ? reasons
                  : "No verdict is drawn at this tier: it " + text_at(ledger.at("parts").front(), "purpose") + ".\n");
}

std::string ledger_page(const json& ledger, const fs::path& dir, const json& since) {
  const fs::path files = dir.empty() ? dir : dir / "claims_files";
  if (!files.empty()) make_folder(files);
  std::string body = "<h1>Which claims hold</h1>\n<p class=\"meta\">" + html::number(head_text(ledger)) + "</p>\n" +
                     summary_table(ledger, true) +
                     "<p class=\"sub\">Each cell is the verdict of one level of evidence: the closed form, a toy "
                     "model, decoders of this "
                     "many parameters. A gain above 0 is the claim's way. <em>Confirmed</em>: the interval lies above "
                     "0 and reaches the "
                     "smallest effect of interest; <em>contradicted</em>: it lies below 0; <em>not confirmed</em>: it "
                     "ends short of that "
                     "effect; else <em>inconclusive</em>. <em>Conditional</em>: the closed form says that it depends. "
                     "The effect is that "
                     "of the largest decoders that decide. The paper's decoders have 120 M parameters and more.</p>\n";
  if (const std::string shown = summary_table(ledger, false); !shown.empty())
    body += html::details("Shown and not judged", shown);
  body += "<h2 id=\"intervals\">All intervals</h2>\n";
  const std::vector<Forest> forests = ledger_forests(ledger);
  for (size_t i = 0; i < forests.size(); ++i)
    if (!forests[i].rows.empty())
      body += std::string("<figure id=\"figure-forest-") + (i ? "others" : "gains") + "\">\n" +
              forest_html(forests[i]) + "</figure>\n";
  body +=
      "<p class=\"sub\">The contrast that decides, of each claim at each level and text. Right of 0 is the claim's "
      "way; "
      "dashed: the smallest effect of interest; small dots: pairs of runs. Blue: confirmed or contradicted.</p>\n"
      "<h2 id=\"method\">How it was judged</h2>\n" +
      method_text(ledger) + changes_section(ledger, since) + failures_section(ledger);
  std::set<std::string> seen;
  for (const json& claim : ledger.at("claims")) body += claim_section(claim, dir, files, seen);
  return html::page("Which claims hold", body + reproduction(ledger));
}

}  // namespace scalevec::experiments
