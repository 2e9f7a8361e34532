#include "experiments/compare/report_parts.hpp"

#include <algorithm>

#include "experiments/plot/forest.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using html::escape;
using nlohmann::json;

std::string reason_text(const json& v) {
  const bool done = v.at("done") > 0, diverged = !done && v.at("diverged") > 0;
  return done ? "no pair of finished runs at its own best setting" : diverged ? "diverged" : "no finished run";
}

ForestRow forest_row(const json& v, const json& baseline, const json& ranked, bool correct) {
  const json &own = v.at("own"), &words = v.at("words"), &d = own.at("difference");
  const std::string loss = text_at(words, "loss");
  ForestRow row;
  row.name = text_at(v, "name");
  row.note = own.at("loss").at("n") > 0 ? "loss " + loss + " at " + text_at(words, "setting") : loss;
  if (d.is_null()) {
    row.reference = true;
    row.estimate = 0.0;
    row.value = "baseline";
    return row;
  }
  if (d.at("n") == 0) {
    row.reason = reason_text(v);
    return row;
  }
  row.estimate = number_at(d, "mean");
  row.value = html::number(text_at(words, "difference"));
  row.dots = numbers_at(own, "losses");
  const std::vector<double> reference = numbers_at(baseline.at("own"), "losses");
  for (size_t i = 0; i < row.dots.size(); ++i) row.dots[i] -= reference[i];
  if (d.at("n") < 2) return row;
  row.interval = {number_at(d, "low"), number_at(d, "high")};
  row.strong = ranked.at("resolution") == "corrected";
  if (correct) {
    row.outer = {number_at(ranked.at("holm"), "low"), number_at(ranked.at("holm"), "high")};
    row.subvalue = html::number(printed("corrected [%+.4f, %+.4f]", row.outer.first, row.outer.second));
  }
  return row;
}

std::string forest_legend(size_t compared, bool beyond) {
  std::string out =
      "<ul class=\"legend\">\n<li class=\"strong\"><svg viewBox=\"0 0 46 16\"><line class=\"ci\" x1=\"4\" x2=\"42\" "
      "y1=\"8\" y2=\"8\"/><circle class=\"estimate\" cx=\"23\" cy=\"8\" r=\"5.5\"/></svg>mean difference and its 95 % "
      "interval (Student's t, paired over seeds)</li>\n";
  if (compared > 1)
    out +=
        "<li class=\"strong\"><svg viewBox=\"0 0 46 16\"><path class=\"outer\" d=\"M2 8H44M2 3V13M44 3V13\"/></svg>"
        "interval corrected for " +
        std::to_string(compared) + " comparisons (at the level of Holm's procedure, 5 % in all)</li>\n";
  out +=
      "<li><svg viewBox=\"0 0 46 16\"><line class=\"ci\" x1=\"4\" x2=\"42\" y1=\"8\" y2=\"8\"/><circle "
      "class=\"estimate\" cx=\"23\" cy=\"8\" r=\"5.5\"/></svg>grey and hollow: the ";
  out += compared > 1 ? "corrected interval" : "interval";
  out +=
      " includes zero</li>\n<li><svg viewBox=\"0 0 46 16\"><circle class=\"dot\" cx=\"12\" cy=\"8\" r=\"2.6\"/><circle "
      "class=\"dot\" cx=\"22\" cy=\"8\" r=\"2.6\"/><circle class=\"dot\" cx=\"34\" cy=\"8\" r=\"2.6\"/></svg>single "
      "seeds</li>\n";
  if (beyond)
    out +=
        "<li><svg viewBox=\"0 0 46 16\"><path class=\"beyond\" d=\"M30 8L18 2V14z\"/></svg>goes on beyond the "
        "axis</li>\n";
  return out + "</ul>\n";
}

}  // namespace

std::string forest_figure(const json& report) {
  const std::string baseline = text_at(report, "baseline");
  const json& variants = report.at("variants");
  const size_t compared = variants.size() - 1;
  const auto has_pair = [](const json& v) {
    const json& d = v.at("own").at("difference");
    return !d.is_null() && d.at("n") > 0;
  };
  if (std::none_of(variants.begin(), variants.end(), has_pair)) return "";
  Forest forest;
  forest.head_name = "Variant";
  forest.head_value = "difference [95 % interval]";
  forest.low_end = "← lower loss: better";
  forest.high_end = "worse →";
  for (const json& ranked : report.at("ranking"))
    forest.rows.push_back(
        forest_row(variant_of(report, text_at(ranked, "variant")), variant_of(report, baseline), ranked, compared > 1));
  return "<figure id=\"figure-answer\">\n<h3>Difference in final validation loss to " + escape(baseline) + "</h3>\n" +
         forest_html(forest) + forest_legend(compared, goes_beyond(forest)) + "</figure>\n";
}

}  // namespace scalevec::experiments
