#pragma once

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// A forest plot as a part of a page (html.hpp): one row per quantity, its estimate and intervals on an axis with zero
// marked. Names and values are the page's own text, so that nothing shrinks on a narrow screen.
namespace scalevec {

struct ForestRow {
  using Ends = std::pair<double, double>;
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  std::string name, note;       // text; the note is small, under the name
  std::string value, subvalue;  // HTML, beside the intervals; the second line is small
  double estimate = kNone;
  Ends interval{kNone, kNone};   // drawn thick
  Ends outer{kNone, kNone};      // drawn thin, with end caps: the interval corrected for there being several
  std::vector<double> dots;      // single pairs; what is not finite is left out
  std::optional<double> effect;  // marked by a dashed line
  std::string reason;            // in place of an estimate that there is none of
  bool strong = false;           // in the accent colour, estimate filled
  bool reference = false;        // a diamond: what the others are compared with
};

struct Forest {
  std::vector<ForestRow> rows;
  bool shared_axis = true;  // else each row has its own, and its ends are written below it
  std::string head_name, head_value;
  std::string low_end, high_end;  // what the ends of the shared axis mean; may be empty
};

// The part of an axis to show: all estimates, intervals and single pairs, 0, and outer intervals as far as they do not
// dwarf the rest. A row far beyond the others does not set the scale; what lies outside is drawn as an arrow.
std::pair<double, double> forest_range(const std::vector<ForestRow>& rows);

std::string forest_html(const Forest& forest);

}  // namespace scalevec
