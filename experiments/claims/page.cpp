#include "experiments/claims/page.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/claims/levels.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/plot/picture.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/staging_folder.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using html::escape;
using nlohmann::json;

std::string signed_number(double x) { return printed(std::abs(x) < 10.0 ? "%+.4f" : "%+.4g", x); }

std::string count_text(const json& value) { return value.is_number() ? value.dump() : "n/a"; }

std::string short_at(const json& object, const char* key) { return short_number(number_at(object, key)); }

std::vector<std::string> words_at(const json& object, const char* key) {
  return object.at(key).get<std::vector<std::string>>();
}

std::string mark(const std::string& verdict) {
  const char* tone = verdict == "confirmed"       ? "good"
                     : verdict == "contradicted"  ? "bad"
                     : verdict == "not confirmed" ? "doubt"
                                                  : "soft";
  return std::string("<strong class=\"") + tone + "\">" + escape(verdict) + "</strong>";
}

std::string level(const json& claim, const char* which) { return text_at(claim.at("levels"), which); }

// An empty figure in place of a picture that is not drawn.
std::string place_of(const std::string& name) { return "<figure id=\"figure-" + name + "\"></figure>\n"; }

std::string shown(const Plot& plot, const fs::path& files) {
  return files.empty() && !plot.panels.empty() ? place_of(plot.name) : drawn(plot, files);
}

bool disagree(const json& claim) { return text_at(claim, "headline") != text_at(claim, "verdict"); }

// Why a claim or a contrast is inconclusive; nothing where the whole ledger decides nothing, which its head says.
std::string reason_of(const json& ledger, const json& of) {
  const std::string reason = text_at(of, "reason");
  return !ledger.at("decides").get<bool>() && reason == withheld_reason(text_at(ledger, "tier")) ? "" : reason;
}

// A row per deciding contrast, the claim's own cells in its first.
std::string summary_table(const json& ledger) {
  std::vector<std::vector<std::string>> rows;
  for (const json& claim : ledger.at("claims")) {
    std::string verdict = mark(level(claim, "language_model"));
    if (const std::string reason = reason_of(ledger, claim); !reason.empty())
      verdict +=
          "<br><span class=\"sub\">" + escape(reason.size() > 100 ? reason.substr(0, 97) + "..." : reason) + "</span>";
    if (disagree(claim)) verdict += "<br><span class=\"mark\">" + escape(text_at(claim, "headline")) + "</span>";
    const std::string id = text_at(claim, "id");
    std::vector<std::string> first{"<a href=\"#" + id + "\"><strong>" + escape(id) + "</strong></a>",
                                   mark(level(claim, "theory")), mark(level(claim, "toy")), verdict};
    for (const json& c : claim.at("contrasts")) {
      if (!c.at("decides").get<bool>()) continue;
      rows.push_back(first);
      rows.back().insert(
          rows.back().end(),
          {"<div class=\"wide\">" + escape(text_at(c, "name")) + "</div>", html::number(gain_text(c)),
           short_at(c, "smallest_effect") + "<div class=\"unit\">" + escape(text_at(claim, "unit")) + "</div>",
           count_text(c.at("pairs")), count_text(c.at("seeds_needed"))});
      first.assign(4, "");
    }
  }
  return html::table({"Claim", "Theory", "Toy", "Language models", "What decides", "Gain [interval<br>at Holm's level]",
                      "Effect of<br>interest", "Pairs", "Seeds<br>needed"},
                     rows, 5);
}

std::string theory_panel(const json& claim, const fs::path& dir, std::set<std::string>& seen) {
  std::string out =
      "<h3>Theory: " + mark(level(claim, "theory")) + "</h3>\n<p>" + escape(text_at(claim, "theory_says")) + "</p>\n";
  for (const json& f : claim.at("figures")) {
    const std::string id = text_at(f, "id"), problem = text_at(f, "problem");
    if (!problem.empty()) {
      out += "<p class=\"sub\">" + escape(id) + ": " + escape(problem) + "</p>\n";
      continue;
    }
    const std::string agreement = "Prediction against simulation: " + short_at(f, "agreement") + ", allowed " +
                                  short_at(f, "required") + (agrees(f) ? "." : ": out of agreement.");
    const fs::path picture = dir / "theory" / (id + ".part.html");
    if (!seen.insert(id).second)
      out += "<p><a href=\"#figure-" + id + "\">" + escape(id) + "</a>, shown above. " + agreement + "</p>\n";
    else
      out += (fs::exists(picture) ? read_whole(picture) : place_of(id)) + "<p><em>" + html::number(agreement) +
             "</em></p>\n";
  }
  return out;
}

std::string toy_panel(const json& claim, const fs::path& files) {
  const json& toy = claim.at("toy");
  if (!toy.is_object())
    return "<h3>Toy: none</h3>\n<p class=\"sub\">The ledger states no toy for this claim; the figures' simulations run "
           "the same update rules.</p>\n";
  const json& j = toy.at("judgement");
  std::string text = printed(
      "Gain ln(loss/loss), each at its own best lr (%.3g and %.3g, chosen on the other half of the replicas): %+.3f "
      "[%+.3f, %+.3f], %s replicas",
      number_at(toy, "worse_lr"), number_at(toy, "better_lr"), number_at(toy, "gain"), number_at(j, "low"),
      number_at(j, "high"), toy.at("pairs").dump().c_str());
  // Older files do not say it.
  if (const double effect = number_at(toy, "smallest_effect"); std::isfinite(effect))
    text += printed("; of interest from %.3g", effect);
  return "<h3>Toy: " + mark(text_at(j, "verdict")) + "</h3>\n" +
         (files.empty() ? "<p>" + escape(text_at(toy, "words")) + "</p>\n" : drawn(toy_plot(claim), files)) + "<p>" +
         html::number(text + ".") + "</p>\n";
}

std::string contrast_table(const json& ledger, const json& claim) {
  std::vector<std::vector<std::string>> rows;
  for (const json& c : claim.at("contrasts")) {
    const auto side = [&](const char* key) {
      std::vector<std::string> words;
      for (const json& a : c.at(key))
        words.push_back(text_at(a, "arm") + (a.at("lr").is_number() ? " at lr " + short_at(a, "lr") : ""));
      return escape(joined(words));
    };
    const json& j = c.at("judgement");
    std::vector<std::string> notes{reason_of(ledger, j)};
    for (const std::string& note : words_at(c, "notes"))
      if (note != text_at(j, "reason")) notes.push_back(note);
    notes.push_back(text_at(c, "extrapolation"));
    std::erase(notes, "");
    for (std::string& note : notes) note = escape(note);
    rows.push_back({escape(text_at(c, "name")), side("better"), side("worse"), html::number(gain_text(c)),
                    html::number(fixed_text(100.0 * number_at(j, "confidence"), 2) + " %"), count_text(c.at("pairs")),
                    short_at(c, "sd"),
                    c.at("decides").get<bool>() ? mark(text_at(j, "verdict"))
                                                : "<span class=\"sub\">not decisive, uncorrected</span>",
                    joined(notes, "<br>")});
  }
  return html::table({"Contrast", "Better, by the claim", "Worse", "Gain [interval]", "Confidence", "Pairs",
                      "sd of<br>a pair", "Verdict", "Notes"},
                     rows, 3);
}

std::string mechanism_panel(const json& claim, const fs::path& files) {
  const json& m = claim.at("mechanism");
  std::string out;
  for (const Plot& plot : mechanism_plots(claim)) out += shown(plot, files);
  if (!m.is_object()) return out;
  std::vector<std::string> head{"Arm"};
  std::vector<std::vector<std::string>> rows;
  for (const json& values : m) {
    const json decrease = values.value("decrease", json::object());
    for (const auto& [group, share] : decrease.items())
      if (std::find(head.begin(), head.end(), group) == head.end()) head.push_back(group);
  }
  const size_t groups = head.size();
  for (const char* word : {"rotation / T9", "corr(γ², ‖w‖²)", "‖w‖/γ at the end", "T4's", "snr of input scales",
                           "T8 at it", "magnitude's step over the baseline's"})
    head.push_back(word);
  for (const auto& [arm, values] : m.items()) {
    std::vector<std::string> row{escape(arm)};
    for (size_t g = 1; g < groups; ++g) {
      const double share = number_at(values.value("decrease", json::object()), head[g]);
      row.push_back(std::isfinite(share) ? html::number(fixed_text(100.0 * share, 1) + " %") : "");
    }
    const std::vector<double> correlation = numbers_at(values, "gamma_w_correlation");
    row.push_back(short_at(values, "rotation_ratio"));
    row.push_back(short_number(correlation.empty() ? NAN : correlation.back()));
    const json balance = values.value("w_gamma", json::object());
    for (const double x : {number_at(balance, "measured"), number_at(balance, "predicted"),
                           number_at(values.value("snr", json::object()), "scale.input"),
                           number_at(values, "amplification"), number_at(values, "amplification_measured")})
      row.push_back(std::isfinite(x) ? short_number(x) : "");
    rows.push_back(std::move(row));
  }
  return out + html::table(head, rows, 1) +
         "<p class=\"sub\">Share of the loss decrease that a first-order prediction (−g·Δ, summed over the traced "
         "steps) gives each group of parameters: who does the work. Signal-to-noise ratio of the gradients between "
         "traces, mean over the run, and the amplification of a magnitude that T8 gives OR at it, beside the step of "
         "the magnitude over the baseline's; ‖w‖/γ where the scales are decayed, and the equilibrium at constant lr "
         "that T4 gives. The first seed of each arm at its own best learning rate; curvature where the ledger asks for "
         "it.</p>\n";
}

std::string section(const json& ledger, const json& claim, const fs::path& dir, const fs::path& files,
                    std::set<std::string>& seen) {
  const std::string id = text_at(claim, "id"), reason = reason_of(ledger, claim),
                    verdict = mark(level(claim, "language_model"));
  const json& pilot = claim.at("pilot");
  std::string power;
  if (pilot.at("sd").is_number())
    power = html::number("Standard deviation of a paired difference on the tuning seeds: " + short_at(pilot, "sd") +
                         "; an interval of ± " + short_at(claim.at("contrasts").front(), "smallest_effect") +
                         " at the strictest of Holm's levels takes " + count_text(pilot.at("seeds")) + " pairs.");
  const bool with_data = text_at(ledger, "command").find(" --data ") != std::string::npos;
  std::string out =
      "<h2 id=\"" + id + "\">" + escape(id) + ": " + escape(text_at(claim, "title")) +
      "</h2>\n<div class=\"findings\"><p>" + escape(text_at(claim, "statement")) + "</p>\n<p>" + verdict +
      (disagree(claim) ? ": <span class=\"mark\">" + escape(text_at(claim, "headline")) + "</span>" : "") +
      (reason.empty() ? "" : ": " + escape(reason)) + "</p></div>\n" +
      html::terms({{"Rule", escape(text_at(claim, "rule"))},
                   {"Source", escape(joined(words_at(claim, "sources"), "; "))},
                   {"Against", escape(joined(words_at(claim, "against"), "; "))},
                   {"Power", power},
                   {"Stated in",
                    id + ".json, SHA-256 with the set-up <code>" + text_at(claim, "hash").substr(0, 16) + "…</code>"},
                   {"Run it", "<code>scalevec claims " + id + " --tier " + text_at(ledger, "tier") +
                                  (with_data ? " --data TOKENS" : "") +
                                  " --out DIR</code>; alone, with Holm's correction over its own contrasts only"}}) +
      theory_panel(claim, dir, seen) + toy_panel(claim, files) + "<h3>Language models: " + verdict + "</h3>\n" +
      "<figure id=\"figure-" + id + "-forest\">\n" + forest_html(claim_forest(claim)) +
      "<figcaption><strong>Gain of each contrast.</strong> Right of 0 is the claim's way; dashed: the smallest effect "
      "of interest; small dots: seeds. Blue ones decide: thick their 95 % interval, thin the one at Holm's level, by "
      "which they are judged. Grey ones are shown at 95 %, uncorrected.</figcaption></figure>\n" +
      contrast_table(ledger, claim);
  for (const Plot& plot : run_plots(claim, dir / "runs")) out += shown(plot, files);
  return out + "<h3>Mechanism</h3>\n" + mechanism_panel(claim, files);
}

std::string provenance_text(const json& value) {
  if (value.is_number()) return fixed_text(value.get<double>() / 3600.0, 2) + " hours of runs";
  return value.is_array() ? joined(value.get<std::vector<std::string>>(), "; ") : "";
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

std::string ledger_text(const json& ledger) {
  std::vector<std::vector<std::string>> lines{
      {"claim", "gain [Holm's interval]", "of interest", "pairs", "theory", "toy", "language model"}};
  std::string reasons;
  for (const json& claim : ledger.at("claims")) {
    const json& all = claim.at("contrasts");
    const json& c = *std::find_if(all.begin(), all.end(), [](const json& x) { return x.at("decides").get<bool>(); });
    const std::string reason = text_at(claim, "reason");
    lines.push_back({text_at(claim, "id"), gain_text(c), fixed_text(number_at(c, "smallest_effect"), 3),
                     count_text(c.at("pairs")), level(claim, "theory"), level(claim, "toy"),
                     level(claim, "language_model") + (disagree(claim) ? "  (levels disagree)" : "")});
    if (!reason.empty()) reasons += text_at(claim, "id") + ": inconclusive: " + reason + "\n";
  }
  return columns_text(lines) + (ledger.at("decides").get<bool>()
                                    ? reasons
                                    : "No verdict is drawn at this tier: it " + text_at(ledger, "purpose") + ".\n");
}

std::string ledger_page(const json& ledger, const fs::path& dir) {
  const fs::path files = dir.empty() ? dir : dir / "claims_files";
  if (!files.empty()) make_folder(files);
  const json &claims = ledger.at("claims"), &runs = ledger.at("runs");
  std::string body =
      "<h1>Which claims hold</h1>\n<p class=\"meta\">" + escape(text_at(ledger, "tier")) + ": " +
      escape(text_at(ledger, "purpose")) + ". " + std::to_string(claims.size()) + " claims, " + runs.at("made").dump() +
      " runs, " + runs.at("diverged").dump() + " diverged, " + std::to_string(runs.at("failed").size()) + " failed." +
      (ledger.at("decides").get<bool>() ? ""
                                        : " No verdict is drawn from this tier's runs, whatever their intervals.") +
      "</p>\n" + summary_table(ledger) +
      "<p class=\"sub\">A gain above 0 is the claim's way. Its interval is at the level at which Holm's procedure, "
      "over "
      "the " +
      ledger.at("family").dump() +
      " deciding contrasts of this ledger (α = 0.05), tests it. <em>Confirmed</em>: the interval lies above 0 and "
      "reaches the smallest effect of interest; <em>contradicted</em>: it lies below 0; <em>not confirmed</em>: it "
      "ends "
      "short of that effect; else <em>inconclusive</em>. Theory: what the closed form says, where its figure agrees "
      "with simulation; <em>conditional</em>: it depends.</p>\n";
  std::set<std::string> seen;
  for (const json& claim : claims) body += section(ledger, claim, dir, files, seen);
  std::vector<std::pair<std::string, std::string>> items;
  for (const auto& [key, value] : ledger.at("provenance").items())
    items.emplace_back(key, escape(provenance_text(value)));
  return html::page("Which claims hold", body + "<h2>Reproduction</h2>\n<pre>" + escape(text_at(ledger, "command")) +
                                             "</pre>\n" + html::terms(items));
}

}  // namespace scalevec::experiments
