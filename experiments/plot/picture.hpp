#pragma once

#include <string>

#include "scalevec/experiments/plot/plot.hpp"

// Plots as parts of a page (html.hpp): inline SVG that keeps its text legible on narrow screens and follows the page's
// colours. Curves differ in dash and marker as well as in colour, except beside points or dashed curves, where the dash
// says what kind a curve is.
namespace scalevec {

// The figure element with id "figure-NAME": title, key, panels, caption. `caption` is HTML; empty: the plot's own.
// `links` (HTML) stands after it.
std::string picture(const Plot& plot, const std::string& links = "", const std::string& caption = "");

// Links to the files of a plot in `folder`, relative to the page's own; SVG and PNG where they were drawn.
std::string file_links(const PlotFiles& files, const std::string& folder);

}  // namespace scalevec
