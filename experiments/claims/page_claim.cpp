#include "experiments/claims/page_claim.hpp"

#include <algorithm>
#include <cmath>

#include "experiments/claims/joined.hpp"
#include "experiments/claims/levels.hpp"
#include "experiments/claims/page.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/plot/picture.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using html::escape;
using nlohmann::json;

std::string short_at(const json& object, const char* key) { return short_number(number_at(object, key)); }

// An empty figure in place of a picture that is not drawn.
std::string place_of(const std::string& name) { return "<figure id=\"figure-" + name + "\"></figure>\n"; }

std::string shown(const Plot& plot, const fs::path& files) {
  return files.empty() && !plot.panels.empty() ? place_of(plot.name) : drawn(plot, files);
}

std::string level(const json& claim, const char* which) {
  return claim.contains("levels") ? text_at(claim.at("levels"), which) : "";
}

std::string theory_panel(const json& claim, const fs::path& dir, std::set<std::string>& seen) {
  std::string out = "<h3>Theory: " + verdict_mark(level(claim, "theory")) + "</h3>\n<p>" +
                    escape(text_at(claim, "theory_says")) + "</p>\n";
  for (const json& f : array_at(claim, "figures")) {
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
  const json toy = claim.value("toy", json());
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
  return "<h3>Toy: " + verdict_mark(text_at(j, "verdict")) + "</h3>\n" +
         (files.empty() ? "<p>" + escape(text_at(toy, "words")) + "</p>\n" : drawn(toy_plot(claim), files)) + "<p>" +
         html::number(text + ".") + "</p>\n";
}

std::vector<std::string> words_at(const json& object, const char* key) {
  return object.value(key, std::vector<std::string>());
}

// "plain at lr 0.0041 ± 0.2 octaves; …"
std::string side_text(const json& contrast, const char* key) {
  std::vector<std::string> words;
  for (const json& a : array_at(contrast, key)) {
    std::string text = text_at(a, "variant");
    if (a.at("lr").is_number() && text_at(contrast, "at") != "turns") {
      text += " at lr " + short_at(a, "lr");
      if (const double se = number_at(a.value("vertex", json::object()), "se"); std::isfinite(se))
        text += " ± " + short_number(se) + " octaves";
    }
    words.push_back(text);
  }
  return escape(joined(words));
}

std::string contrast_table(const json& entry) {
  std::vector<std::vector<std::string>> rows;
  for (const json& c : entry.at("contrasts")) {
    const json& j = c.at("judgement");
    std::vector<std::string> notes{text_at(j, "reason"), text_at(c, "stopped")};
    for (const std::string& note : words_at(c, "notes"))
      if (note != text_at(j, "reason")) notes.push_back(note);
    notes.push_back(text_at(c, "extrapolation"));
    std::erase(notes, "");
    for (std::string& note : notes) note = escape(note);
    const double cap = number_at(c, "cap");
    rows.push_back({escape(text_at(c, "name")), side_text(c, "better"), side_text(c, "worse"),
                    html::number(effect_text(c)),
                    html::number(fixed_text(100.0 * number_at(j, "confidence"), 2) + " %"),
                    c.at("pairs").dump() + (std::isfinite(cap) ? " of " + short_number(cap) : ""), short_at(c, "sd"),
                    c.at("decides").get<bool>() ? verdict_mark(text_at(j, "verdict"))
                                                : "<span class=\"sub\">not decisive, uncorrected</span>",
                    joined(notes, "<br>")});
  }
  return html::table({"Contrast", "Better, by the claim", "Worse", "Gain [interval]", "Confidence", "Pairs",
                      "sd of<br>a pair", "Verdict", "Notes"},
                     rows, 3);
}

// The looks that were made before the last, of contrasts that were looked at more than once.
std::string looks_table(const json& entry) {
  std::vector<std::vector<std::string>> rows;
  for (const json& c : entry.at("contrasts"))
    if (const json& looks = array_at(c, "looks"); looks.size() > 1)
      for (const json& look : looks)
        rows.push_back(
            {&look == &looks.front() ? escape(text_at(c, "name")) : "", short_at(look, "pairs"),
             short_at(look, "boundary"),
             html::number(interval_text(number_at(look, "gain"), number_at(look, "low"), number_at(look, "high"))),
             html::number(fixed_text(100.0 * number_at(look, "confidence"), 3) + " %")});
  if (rows.empty()) return "";
  return html::details("Every look",
                       html::table({"Contrast", "Pairs", "Boundary", "Gain [interval]", "Confidence"}, rows, 1));
}

std::string tuning_table(const json& entry) {
  std::vector<std::vector<std::string>> rows;
  bool fitted = false;
  const json tuning = entry.value("tuning", json::object());
  for (const auto& [variant, t] : tuning.items()) {
    const json vertex = t.value("vertex", json());
    fitted = fitted || vertex.is_object();
    std::vector<std::string> lrs;
    if (vertex.is_object())
      for (const double lr : numbers_at(vertex, "lrs")) lrs.push_back(short_number(lr));
    else
      for (const json& p : array_at(t, "curve")) lrs.push_back(short_at(p, "lr"));
    rows.push_back({escape(variant), short_at(t, "best"), short_number(number_at(vertex, "se")),
                    short_number(number_at(vertex, "curvature")), short_number(number_at(vertex, "lack_of_fit_p")),
                    escape(joined(lrs)), escape(text_at(t, "problem"))});
  }
  if (!fitted) return "";
  return html::details("Own best learning rates",
                       html::table({"Variant", "Vertex", "Standard error,<br>octaves", "Curvature,<br>per octave²",
                                    "p of lack<br>of fit", "From lrs", "Problem"},
                                   rows, 1));
}

std::string mechanism_panel(const std::string& id, const json& entry, const fs::path& files) {
  const json m = entry.value("mechanism", json());
  std::string out;
  for (const Plot& plot : mechanism_plots(id, entry)) out += shown(plot, files);
  if (!m.is_object()) return out;
  std::vector<std::string> head{"Variant"};
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
  for (const auto& [variant, values] : m.items()) {
    std::vector<std::string> row{escape(variant)};
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
  return "<h4>Mechanism</h4>\n" + out + html::table(head, rows, 1) +
         "<p class=\"sub\">Share of the loss decrease that a first-order prediction (−g·Δ, summed over the traced "
         "steps) gives each group of parameters: who does the work. Signal-to-noise ratio of the gradients between "
         "traces, mean over the run, and the amplification of a magnitude that T8 gives OR at it, beside the step of "
         "the magnitude over the baseline's; ‖w‖/γ where the scales are decayed, and the equilibrium at constant lr "
         "that T4 gives. The first seed of each variant at its own best learning rate; curvature where the ledger asks "
         "for it.</p>\n";
}

std::string entry_panel(const std::string& id, const json& entry, const fs::path& dir, const fs::path& files) {
  const std::string reason = text_at(entry, "reason");
  const json pilot = entry.value("pilot", json::object());
  std::string out = "<h3>" + escape(entry_name(entry)) + ": " + verdict_mark(text_at(entry, "verdict")) + "</h3>\n";
  if (!reason.empty()) out += "<p>" + escape(reason) + "</p>\n";
  std::vector<std::string> facts;
  if (entry.value("parameters", json()).is_number())
    facts.push_back(printed("%.3g million parameters", number_at(entry, "parameters") / 1e6));
  if (number_at(pilot, "sd") > 0.0)
    facts.push_back("sd of a paired difference on the tuning seeds " + short_at(pilot, "sd"));
  if (number_at(pilot, "lr_cost") > 0.0)
    facts.push_back("the errors of the best lrs may cost up to " + short_at(pilot, "lr_cost"));
  if (number_at(pilot, "detectable") > 0.0)
    facts.push_back("smallest gain that the cap can detect " + short_at(pilot, "detectable"));
  if (number_at(entry, "core_hours") > 0.0) facts.push_back(short_at(entry, "core_hours") + " core-hours");
  if (!text_at(entry, "machine").empty()) facts.push_back(text_at(entry, "machine"));
  facts.push_back("claim and set-up SHA-256 " + text_at(entry, "hash").substr(0, 16) + "…");
  out += "<p class=\"sub\">" + html::number(joined(facts, "; ")) + "</p>\n<figure id=\"figure-" +
         picture_name(id, entry, "forest") + "\">\n" + forest_html(entry_forest(entry)) + "</figure>\n" +
         contrast_table(entry) + looks_table(entry) + tuning_table(entry);
  for (const Plot& plot : run_plots(id, entry, dir / "runs")) out += shown(plot, files);
  return out + mechanism_panel(id, entry, files);
}

}  // namespace

std::string claim_section(const json& claim, const fs::path& dir, const fs::path& files, std::set<std::string>& seen) {
  const std::string id = text_at(claim, "id");
  std::string folded = html::terms({{"Rule", escape(text_at(claim, "rule"))},
                                    {"Source", escape(joined(words_at(claim, "sources"), "; "))},
                                    {"Against", escape(joined(words_at(claim, "against"), "; "))}}) +
                       theory_panel(claim, dir, seen) + toy_panel(claim, files);
  for (const json& entry : claim.at("evidence")) folded += entry_panel(id, entry, dir, files);
  std::vector<std::string> said;
  for (const auto& [word, which] : {std::pair{"Theory", "theory"}, {"toy", "toy"}})
    if (const std::string verdict = level(claim, which); !verdict.empty())
      said.push_back(std::string(word) + ": " + verdict_mark(verdict));
  for (const json& at : claim.at("at")) {
    const std::string name = level_name(text_at(at, "level"));
    said.push_back(escape(name) + ": " + verdict_mark(text_at(at, "verdict")));
  }
  return "<h2 id=\"" + id + "\">" + escape(id) + ": " + escape(text_at(claim, "title")) + "</h2>\n<p>" +
         escape(text_at(claim, "statement")) + "</p>\n<p>" + joined(said, "; ") + "</p>\n" +
         html::details("Rule, theory, toy, tables and pictures", folded);
}

}  // namespace scalevec::experiments
