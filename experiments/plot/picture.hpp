#pragma once

#include <string>

#include "experiments/plot/plot.hpp"

// Plots as parts of a page (html.hpp): inline SVG whose text stays legible on narrow screens and which uses the colours
// of the page. Curves differ in dash and marker as well as in colour. In a panel with points or dashed curves they do
// not differ in dash, because there the dash shows the kind of a curve.
namespace scalevec::experiments {

// The HTML figure element with id "figure-NAME": title, key, panels, caption. `caption` is HTML; empty: the caption of
// the plot. `links` (HTML) is added after it.
std::string picture(const Plot& plot, const std::string& links = "", const std::string& caption = "");

// HTML links to the files of a plot in `folder`, relative to the folder of the page; to SVG and PNG if they were drawn.
std::string file_links(const PlotFiles& files, const std::string& folder);

// Writes the plot's files into `folder`, which is made beside the page, and returns its picture with links to them;
// empty for a plot without panels.
std::string drawn(const Plot& plot, const std::filesystem::path& folder);

}  // namespace scalevec::experiments
