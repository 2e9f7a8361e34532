#pragma once

#include <string>

#include "experiments/plot/plot.hpp"

namespace scalevec::experiments {

// The gnuplot program that draws the plot, its data inside, into NAME.svg and NAME.png of the folder it runs in.
std::string gnuplot_script(const Plot& plot);

// Text as a gnuplot string literal that means exactly it; line breaks become spaces.
std::string gnuplot_quoted(const std::string& text);

}  // namespace scalevec::experiments
