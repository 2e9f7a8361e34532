#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "experiments/claims/pictures.hpp"
#include "experiments/claims/results.hpp"
#include "experiments/compare/tables.hpp"
#include "experiments/errors.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/plot/picture.hpp"
#include "experiments/record/record_files.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using html::escape;
using nlohmann::json;

std::string short_number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", x);
  return std::isfinite(x) ? text : "n/a";
}

std::string joined(const std::vector<std::string>& words, const char* between = "; ") {
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : between) + w;
  return out;
}

std::string mark(const std::string& verdict) {
  const char* tone = verdict == "confirmed"       ? "good"
                     : verdict == "contradicted"  ? "bad"
                     : verdict == "not confirmed" ? "doubt"
                                                  : "soft";
  return std::string("<strong class=\"") + tone + "\">" + escape(verdict) + "</strong>";
}

std::string drawn(const Plot& plot, const fs::path& files) {
  if (plot.panels.empty()) return "";
  return picture(plot, file_links(write_plot(plot, files), files.filename().string()));
}

// Why a claim is inconclusive; nothing where the whole ledger decides nothing, which its head says.
std::string reason_of(const LedgerResult& ledger, const std::string& reason) {
  return reason == ledger.withheld ? "" : reason;
}

// A row per deciding contrast, the claim's own cells in its first.
std::string summary_table(const LedgerResult& ledger) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < ledger.claims.size(); ++i) {
    const ClaimResult& r = ledger.claims[i];
    const Levels levels = levels_of(ledger, i);
    std::string verdict = mark(levels.language);
    if (const std::string reason = reason_of(ledger, r.reason); !reason.empty())
      verdict +=
          "<br><span class=\"sub\">" + escape(reason.size() > 100 ? reason.substr(0, 97) + "..." : reason) + "</span>";
    if (levels.disagree()) verdict += "<br><span class=\"mark\">" + escape(levels.headline()) + "</span>";
    std::vector<std::string> first{"<a href=\"#" + r.claim->id + "\"><strong>" + escape(r.claim->id) + "</strong></a>",
                                   mark(levels.theory), mark(levels.toy), verdict};
    for (const ContrastResult& c : r.contrasts) {
      if (!c.contrast->decides) continue;
      std::vector<std::string> row = first;
      row.insert(row.end(),
                 {"<div class=\"wide\">" + escape(c.contrast->name) + "</div>", html::number(gain_text(c)),
                  short_number(c.contrast->smallest_effect) + "<div class=\"unit\">" + escape(r.claim->unit) + "</div>",
                  std::to_string(c.gain.n), c.seeds_needed ? std::to_string(*c.seeds_needed) : std::string("n/a")});
      rows.push_back(std::move(row));
      first.assign(4, "");
    }
  }
  return html::table({"Claim", "Theory", "Toy", "Language models", "What decides", "Gain [interval<br>at Holm's level]",
                      "Effect of<br>interest", "Pairs", "Seeds<br>needed"},
                     rows, 5);
}

std::string theory_panel(const LedgerResult& ledger, size_t i, std::set<std::string>& shown) {
  const Claim& claim = *ledger.claims[i].claim;
  std::string out =
      "<h3>Theory: " + mark(levels_of(ledger, i).theory) + "</h3>\n<p>" + escape(claim.theory_says) + "</p>\n";
  for (const FigureEvidence& f : ledger.figures[i]) {
    if (!f.problem.empty()) {
      out += "<p class=\"sub\">" + escape(f.id) + ": " + escape(f.problem) + "</p>\n";
      continue;
    }
    const std::string agreement = "Prediction against simulation: " + short_number(f.agreement) + ", allowed " +
                                  short_number(f.required) + (f.agrees() ? "." : ": out of agreement.");
    if (!shown.insert(f.id).second) {
      out += "<p><a href=\"#figure-" + f.id + "\">" + escape(f.id) + "</a>, shown above. " + agreement + "</p>\n";
      continue;
    }
    out += read_whole(f.picture) + "<p><em>" + html::number(agreement) + "</em></p>\n";
  }
  return out;
}

std::string toy_panel(const LedgerResult& ledger, size_t i, const fs::path& files) {
  const Claim& claim = *ledger.claims[i].claim;
  if (!ledger.toys[i])
    return "<h3>Toy: none</h3>\n<p class=\"sub\">The ledger states no toy for this claim; the figures' simulations run "
           "the same update rules.</p>\n";
  const ToyEvidence& toy = *ledger.toys[i];
  Plot plot = toy_plot(claim, toy);
  plot.caption = toy.words;
  char text[300];
  std::snprintf(text, sizeof text,
                "Gain ln(loss/loss), each at its own best lr (%.3g and %.3g, chosen on the other half of the "
                "replicas): %+.3f [%+.3f, %+.3f], %zu replicas; of interest from %.3g.",
                toy.worse_lr, toy.better_lr, toy.mean, toy.judgement.low, toy.judgement.high, toy.gains.size(),
                claim.toy->smallest_effect);
  return "<h3>Toy: " + mark(to_string(toy.judgement.verdict)) + "</h3>\n" + drawn(plot, files) + "<p>" +
         html::number(text) + "</p>\n";
}

std::string contrast_table(const LedgerResult& ledger, const ClaimResult& r) {
  std::vector<std::vector<std::string>> rows;
  for (const ContrastResult& c : r.contrasts) {
    const auto side = [](const std::vector<ArmResult>& arms) {
      std::vector<std::string> words;
      for (const ArmResult& a : arms) words.push_back(a.name + (a.lr ? " at lr " + short_number(*a.lr) : ""));
      return escape(joined(words, ", "));
    };
    std::string note = escape(reason_of(ledger, c.judgement.reason));
    for (const std::string& n : c.notes)
      if (n != c.judgement.reason) note += (note.empty() ? "" : "<br>") + escape(n);
    if (!c.extrapolation.empty()) note += (note.empty() ? "" : "<br>") + escape(c.extrapolation);
    rows.push_back({escape(c.contrast->name), side(c.better), side(c.worse), html::number(gain_text(c)),
                    html::number(fixed_text(100.0 * c.judgement.confidence, 2) + " %"), std::to_string(c.gain.n),
                    short_number(c.gain.sd),
                    c.contrast->decides ? mark(to_string(c.judgement.verdict))
                                        : "<span class=\"sub\">not decisive, uncorrected</span>",
                    note});
  }
  return html::table({"Contrast", "Better, by the claim", "Worse", "Gain [interval]", "Confidence", "Pairs",
                      "sd of<br>a pair", "Verdict", "Notes"},
                     rows, 3);
}

std::string mechanism_panel(const LedgerResult& ledger, size_t i, const fs::path& files) {
  const json& m = ledger.mechanisms[i];
  std::string out;
  for (const Plot& plot : mechanism_plots(ledger.claims[i], m)) out += drawn(plot, files);
  if (!m.is_object()) return out;
  std::vector<std::string> head{"Arm"};
  std::vector<std::vector<std::string>> rows;
  for (const auto& [arm, values] : m.items()) {
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
    row.push_back(short_number(number_at(values, "rotation_ratio")));
    const json& correlation = values.at("gamma_w_correlation");
    row.push_back(correlation.empty() || !correlation.back().is_number()
                      ? "n/a"
                      : short_number(correlation.back().get<double>()));
    const auto shown = [&](double x) { row.push_back(std::isfinite(x) ? short_number(x) : ""); };
    const json balance = values.value("w_gamma", json::object());
    shown(number_at(balance, "measured"));
    shown(number_at(balance, "predicted"));
    shown(number_at(values.value("snr", json::object()), "scale.input"));
    shown(number_at(values, "amplification"));
    shown(number_at(values, "amplification_measured"));
    rows.push_back(std::move(row));
  }
  return out + html::table(head, rows, 1) +
         "<p class=\"sub\">Share of the loss decrease that a first-order prediction (−g·Δ, summed over the traced "
         "steps) gives each group of "
         "parameters: who does the work. Signal-to-noise ratio of the gradients between traces, mean over the run, and "
         "the "
         "amplification of a magnitude that T8 gives OR at it, beside the step of the magnitude over the baseline's; "
         "‖w‖/γ where the scales are decayed, and the equilibrium "
         "at constant lr that T4 gives. The first seed of each arm at its own best learning rate; curvature where the "
         "ledger asks for it.</p>\n";
}

std::string section(const LedgerResult& ledger, size_t i, const fs::path& files, std::set<std::string>& shown) {
  const ClaimResult& r = ledger.claims[i];
  const Claim& claim = *r.claim;
  const Levels levels = levels_of(ledger, i);
  std::string out =
      "<h2 id=\"" + claim.id + "\">" + escape(claim.id) + ": " + escape(claim.title) +
      "</h2>\n<div class=\"findings\"><p>" + escape(claim.statement) + "</p>\n<p>" + mark(levels.language) +
      (levels.disagree() ? ": <span class=\"mark\">" + escape(levels.headline()) + "</span>" : "") +
      (reason_of(ledger, r.reason).empty() ? "" : ": " + escape(r.reason)) + "</p></div>\n<dl><dt>Rule</dt><dd>" +
      escape(claim.rule) + "</dd><dt>Source</dt><dd>" + escape(joined(claim.sources)) + "</dd>";
  if (!claim.against.empty()) out += "<dt>Against</dt><dd>" + escape(joined(claim.against)) + "</dd>";
  if (std::isfinite(r.pilot_sd))
    out += "<dt>Power</dt><dd>" +
           html::number("Standard deviation of a paired difference on the tuning seeds: " + short_number(r.pilot_sd) +
                        "; an interval of ± " + short_number(r.contrasts.front().contrast->smallest_effect) +
                        " at the strictest of Holm's levels takes " +
                        (r.pilot_seeds ? std::to_string(*r.pilot_seeds) : std::string("n/a")) + " pairs.") +
           "</dd>";
  out += "<dt>Stated in</dt><dd>" + claim.id + ".json, SHA-256 with the set-up <code>" + claim.hash.substr(0, 16) +
         "…</code></dd>";
  out += "<dt>Run it</dt><dd><code>scalevec claims " + claim.id + " --tier " + ledger.tier +
         (ledger.command.find(" --data ") != std::string::npos ? " --data TOKENS" : "") +
         " --out DIR</code>; alone, with Holm's correction over its own contrasts only</dd></dl>\n";
  out += theory_panel(ledger, i, shown) + toy_panel(ledger, i, files);
  out += "<h3>Language models: " + mark(levels.language) + "</h3>\n" + "<figure id=\"figure-" + claim.id +
         "-forest\">\n" + forest_html(claim_forest(r)) +
         "<figcaption><strong>Gain of each contrast.</strong> Right of 0 is the claim's way; dashed: the smallest "
         "effect of interest; small dots: seeds. Blue ones decide: thick their 95 % interval, thin the one at Holm's "
         "level, by which they are judged. Grey ones are shown at 95 %, uncorrected.</figcaption></figure>\n";
  out += contrast_table(ledger, r);
  for (const Plot& plot : run_plots(r)) out += drawn(plot, files);
  if (const Plot ladder = ladder_plot(r); !ladder.panels.empty()) out += drawn(ladder, files);
  return out + "<h3>Mechanism</h3>\n" + mechanism_panel(ledger, i, files);
}

}  // namespace

std::string ledger_page(const LedgerResult& ledger, const fs::path& files) {
  std::error_code error;
  fs::create_directories(files, error);
  if (error) throw RunError(files.string() + ": cannot be made: " + error.message());
  size_t family = 0;
  for (const ClaimResult& r : ledger.claims)
    for (const ContrastResult& c : r.contrasts) family += c.contrast->decides;
  std::string body =
      "<h1>Which claims hold</h1>\n<p class=\"meta\">" + escape(ledger.tier) + ": " + escape(ledger.purpose) + ". " +
      std::to_string(ledger.claims.size()) + " claims, " + std::to_string(ledger.runs) + " runs, " +
      std::to_string(ledger.diverged) + " diverged, " + std::to_string(ledger.failed.size()) + " failed." +
      (ledger.withheld.empty() ? "" : " No verdict is drawn from this tier's runs, whatever their intervals.") +
      "</p>\n" + summary_table(ledger);
  body +=
      "<p class=\"sub\">A gain above 0 is the claim's way. Its interval is at the level at which Holm's procedure, "
      "over the " +
      std::to_string(family) +
      " deciding contrasts of this ledger (α = 0.05), tests it. <em>Confirmed</em>: the interval lies above 0 and "
      "reaches "
      "the smallest effect of interest; <em>contradicted</em>: it lies below 0; <em>not confirmed</em>: it ends short "
      "of that effect; else "
      "<em>inconclusive</em>. Theory: what the closed form says, where its figure agrees with simulation; "
      "<em>conditional</em>: it depends.</p>\n";
  std::set<std::string> shown;
  for (size_t i = 0; i < ledger.claims.size(); ++i) body += section(ledger, i, files, shown);
  body += "<h2>Reproduction</h2>\n<pre>" + escape(ledger.command) + "</pre>\n<dl>\n";
  for (const auto& [key, value] : ledger.provenance.items()) {
    std::string text = value.is_number() ? fixed_text(value.get<double>() / 3600.0, 2) + " hours of runs" : "";
    if (value.is_array()) {
      std::vector<std::string> words;
      for (const json& v : value) words.push_back(v.get<std::string>());
      text = joined(words);
    }
    body += "<dt>" + escape(key) + "</dt><dd>" + escape(text) + "</dd>\n";
  }
  return html::page("Which claims hold", body + "</dl>\n");
}

}  // namespace scalevec::experiments
