#include "experiments/compare/ranking.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "experiments/compare/tables.hpp"
#include "experiments/system/terminal_text.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

constexpr size_t kLongestName = 36;

// What comes first is better: differences, then losses without a pair, then nothing.
std::pair<int, double> place(const Analysis& analysis, const VariantResult& v) {
  const bool is_baseline = &v == &analysis.variants[analysis.baseline];
  if (is_baseline && v.own.loss.n > 0) return {0, 0.0};
  if (v.own.difference && v.own.difference->n > 0) return {0, v.own.difference->mean};
  return v.own.loss.n > 0 ? std::pair{1, v.own.loss.mean} : std::pair{2, 0.0};
}

// Without control characters, and no wider than a table can bear.
std::string terminal_name(const std::string& name) {
  std::string out;
  for (const char c : name) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
  if (display_width(out) <= kLongestName) return out;
  std::string shortened;
  for (size_t at = 0, width = 0; at < out.size();) {
    const size_t from = at;
    width += next_character_width(out, at);
    if (width > kLongestName - 1) break;
    shortened += out.substr(from, at - from);
  }
  return shortened + "…";
}

std::string resolution_text(const Analysis& analysis, const Ranked& r) {
  if (r.variant == analysis.baseline) return "";
  const auto& d = analysis.variants[r.variant].own.difference;
  switch (r.resolution) {
    case Resolution::none:
      if (!d || !d->defined()) return "";
      return d->mean == 0.0 ? "identical losses" : "the same for every seed";
    case Resolution::open:
      return "not resolved";
    case Resolution::uncorrected:
      return std::string(d->mean < 0.0 ? "better" : "worse") + ", uncorrected only";
    case Resolution::corrected:
      return d->mean < 0.0 ? "better" : "worse";
  }
  return "";
}

}  // namespace

std::vector<Ranked> ranking(const Analysis& analysis) {
  std::vector<Ranked> out;
  std::vector<double> p;
  std::vector<size_t> tested;
  for (size_t i = 0; i < analysis.variants.size(); ++i) {
    out.push_back({i, std::nullopt, 1.0, Resolution::none});
    const auto& d = analysis.variants[i].own.difference;
    if (!d) continue;
    tested.push_back(i);
    p.push_back(two_sided_p(*d));
  }
  const std::vector<HolmResult> results = holm(p);
  for (size_t k = 0; k < tested.size(); ++k) {
    Ranked& r = out[tested[k]];
    const MeanInterval& d = *analysis.variants[tested[k]].own.difference;
    r.corrected = at_confidence(d, 1.0 - results[k].level);
    r.adjusted_p = results[k].adjusted_p;
    if (d.defined() && d.sd > 0.0)
      r.resolution = !d.excludes_zero()    ? Resolution::open
                     : results[k].rejected ? Resolution::corrected
                                           : Resolution::uncorrected;
  }
  std::stable_sort(out.begin(), out.end(), [&](const Ranked& a, const Ranked& b) {
    return place(analysis, analysis.variants[a.variant]) < place(analysis, analysis.variants[b.variant]);
  });
  return out;
}

std::string ranking_text(const Analysis& analysis) {
  const std::vector<ComparisonRow> rows = comparison_rows(analysis);
  std::vector<std::vector<std::string>> lines{
      {"", "variant", "loss", "difference to " + terminal_name(analysis.variants[analysis.baseline].name) + " [95 %]",
       ""}};
  size_t rank = 0;
  for (const Ranked& r : ranking(analysis)) {
    const ComparisonRow& row = rows[r.variant];
    lines.push_back({std::to_string(++rank), terminal_name(row.variant), row.own_loss, row.own_difference,
                     resolution_text(analysis, r)});
  }
  return columns_text(lines, true);
}

}  // namespace scalevec::experiments
