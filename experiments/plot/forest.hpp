#pragma once

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// A forest plot as a part of a page (html.hpp): one row per quantity, with its estimate and intervals on an axis where
// zero is marked. Names and values are text of the page, so nothing shrinks on a narrow screen.
namespace scalevec::experiments {

struct ForestRow {
  using Ends = std::pair<double, double>;
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  std::string name, note;       // text; the note is small, under the name
  std::string value, subvalue;  // HTML, beside the intervals; the second line is small
  double estimate = kNone;
  Ends interval{kNone, kNone};   // drawn thick
  Ends outer{kNone, kNone};      // drawn thin, with end caps: the interval corrected for multiple comparisons
  std::vector<double> dots;      // single pairs; values that are not finite are left out
  std::optional<double> effect;  // marked by a dashed line
  std::string reason;            // shown if there is no estimate
  bool strong = false;           // drawn in the accent colour with a filled estimate
  bool reference = false;        // drawn as a diamond: the row that the others are compared with
};

struct Forest {
  std::vector<ForestRow> rows;
  bool shared_axis = true;  // false: each row has its own axis, with its ends written below
  std::string head_name, head_value;
  std::string low_end, high_end;  // what the ends of the shared axis mean; may be empty
};

// The part of an axis to show: 0, all estimates, intervals and single pairs, and outer intervals as long as they do not
// make the rest too small. A row far beyond the others does not set the scale; what lies outside is drawn as an arrow.
std::pair<double, double> forest_range(const std::vector<ForestRow>& rows);

// Whether a row of the shared axis has an estimate or an end outside of it, which is an arrow.
bool goes_beyond(const Forest& forest);

// The plot as HTML.
std::string forest_html(const Forest& forest);

}  // namespace scalevec::experiments
