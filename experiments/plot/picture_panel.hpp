#pragma once

#include <string>

#include "experiments/plot/plot.hpp"

// One panel of a picture as an SVG element.
namespace scalevec::experiments {

// Class names of the page's style and ids of its markers; empty: not drawn.
struct SeriesLook {
  std::string colour, dash, marker;
};

// Whether dash and marker tell the panel's lines apart, or the kinds: prediction, points, reference.
bool lines_differ_in_dash(const Panel& panel);

SeriesLook look_of(const Panel& panel, size_t series, bool lines_differ);

// `width` of its view box; the height is `ratio` of it. Each series is a <g> with its values as data attributes and
// with data-key, the label whose key hides it.
std::string panel_svg(const Panel& panel, int width, double ratio);

}  // namespace scalevec::experiments
