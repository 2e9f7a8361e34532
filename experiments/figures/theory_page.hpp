#pragma once

#include <string>
#include <vector>

namespace scalevec {

// A figure as it was drawn, or why it was not.
struct DrawnFigure {
  std::string id, title;
  std::string line;  // "agreement 0.003, required 0.01", or what went wrong
  bool agrees = false;
  std::string picture;  // its part of the page (picture.hpp); empty: not drawn
};

// The page of all figures: the verdicts as a table, then each picture with its formulas and its files.
std::string theory_page(const std::vector<DrawnFigure>& figures, const std::string& quality);

}  // namespace scalevec
