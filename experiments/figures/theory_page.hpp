#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "experiments/figures/figure.hpp"

namespace scalevec::experiments {

// A figure as it was drawn, or why it was not.
struct DrawnFigure {
  const Figure* figure = nullptr;
  std::string line;  // "off by 0.003, allowed 0.01", or what went wrong
  bool agrees = false;
  std::string picture;  // its part of the page (picture.hpp); empty: not drawn
};

// The page of all figures: the verdicts as a table, then each picture with its formulas and its files. `chosen`: how
// many were to be drawn; it says where some are missing.
std::string theory_page(const std::vector<DrawnFigure>& figures, const std::string& quality, std::size_t chosen);

}  // namespace scalevec::experiments
