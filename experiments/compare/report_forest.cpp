#include "experiments/compare/report_parts.hpp"

#include <algorithm>
#include <cmath>

#include "experiments/compare/ranking.hpp"
#include "experiments/compare/tables.hpp"
#include "experiments/plot/forest.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using html::escape;

std::string reason_text(const VariantResult& v) {
  const bool diverged = v.done == 0 && v.diverged > 0;
  return v.done ? "no pair of finished runs at its own best setting" : diverged ? "diverged" : "no finished run";
}

ForestRow forest_row(const Analysis& analysis, const Ranked& ranked, const ComparisonRow& words, bool correct) {
  const VariantResult& v = analysis.variants[ranked.variant];
  const VariantResult& baseline = analysis.variants[analysis.baseline];
  ForestRow row;
  row.name = v.name;
  row.note = v.own.loss.n ? "loss " + words.own_loss + " at " + words.own_setting : words.own_loss;
  if (!v.own.difference) {
    row.reference = true;
    row.estimate = 0.0;
    row.value = "baseline";
    return row;
  }
  const MeanInterval& d = *v.own.difference;
  if (d.n == 0) {
    row.reason = reason_text(v);
    return row;
  }
  row.estimate = d.mean;
  row.value = html::number(words.own_difference);
  for (size_t i = 0; i < v.own.losses.size(); ++i) row.dots.push_back(v.own.losses[i] - baseline.own.losses[i]);
  if (!d.defined()) return row;
  row.interval = {d.low(), d.high()};
  row.strong = ranked.resolution == Resolution::corrected;
  if (correct) {
    row.outer = {ranked.corrected->low(), ranked.corrected->high()};
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

std::string forest_figure(const Analysis& analysis) {
  const std::string& baseline = analysis.variants[analysis.baseline].name;
  const size_t compared = analysis.variants.size() - 1;
  const auto has_pair = [](const VariantResult& v) { return v.own.difference && v.own.difference->n > 0; };
  if (std::none_of(analysis.variants.begin(), analysis.variants.end(), has_pair)) return "";
  const std::vector<ComparisonRow> words = comparison_rows(analysis);
  Forest forest;
  forest.head_name = "Variant";
  forest.head_value = "difference [95 % interval]";
  forest.low_end = "← lower loss: better";
  forest.high_end = "worse →";
  for (const Ranked& ranked : ranking(analysis))
    forest.rows.push_back(forest_row(analysis, ranked, words[ranked.variant], compared > 1));
  const std::string drawn = forest_html(forest);
  return "<figure id=\"figure-answer\">\n<h3>Difference in final validation loss to " + escape(baseline) + "</h3>\n" +
         drawn + forest_legend(compared, drawn.find("class=\"beyond\"") != std::string::npos) + "</figure>\n";
}

}  // namespace scalevec::experiments
