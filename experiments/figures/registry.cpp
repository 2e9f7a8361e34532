#include <fmt/args.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "experiments/figures/figure.hpp"

namespace scalevec::experiments {

// Of every file of a figure, generated.
std::vector<Figure> listed_figures();

const std::vector<Figure>& figures() {
  static const std::vector<Figure> all = [] {
    std::vector<Figure> listed = listed_figures();
    const auto place = [](const Figure& f) {
      return std::pair(std::string("TPM").find(f.id[0]), std::stoi(f.id.substr(1)));
    };
    std::sort(listed.begin(), listed.end(), [&](const Figure& a, const Figure& b) { return place(a) < place(b); });
    return listed;
  }();
  return all;
}

FigureResult Figure::run(const FigureValues& values) const {
  FigureResult result;
  Plot& plot = result.plot;
  plot = {id, id + "  " + heading, "", panels, layout.columns, layout.panel_width, layout.panel_height};
  draw(values, result);
  fmt::dynamic_format_arg_store<fmt::format_context> known;
  std::vector<FigureNumber> numbers = values.numbers();
  numbers.insert(numbers.end(), result.numbers.begin(), result.numbers.end());
  numbers.emplace_back("off", result.agreement);
  for (const FigureNumber& n : numbers)
    std::visit([&](const auto& x) { known.push_back(fmt::arg(n.name.c_str(), x)); }, n.value);
  const auto filled = [&](const std::string& text) { return fmt::vformat(text, known); };
  plot.caption = id + ": " + filled(caption);
  for (Panel& panel : plot.panels)
    for (std::string* text : {&panel.title, &panel.x_label, &panel.y_label}) *text = filled(*text);
  return result;
}

FigureValues::FigureValues(const std::vector<FigureParam>& params, FigureQuality quality) {
  for (const FigureParam& p : params)
    values_.push_back({p.name, quality == FigureQuality::quick ? p.quick : p.paper, p.whole});
}

void FigureValues::set(const FigureParam& param, const std::string& text) {
  double value = 0.0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const bool sound = error == std::errc() && stop == end && std::isfinite(value) && param.allowed.contains(value) &&
                     (!param.whole || value == std::floor(value));
  if (!sound)
    throw UsageError("--set " + param.name + "=" + text + ": allowed: a" + (param.whole ? " whole" : "") + " number " +
                     param.allowed.text());
  for (Value& v : values_)
    if (v.name == param.name) v.value = value;
}

double FigureValues::operator[](const std::string& name) const {
  const auto it = std::find_if(values_.begin(), values_.end(), [&](const auto& v) { return v.name == name; });
  if (it == values_.end()) throw std::logic_error("no figure parameter " + name);
  return it->value;
}

std::vector<FigureNumber> FigureValues::numbers() const {
  std::vector<FigureNumber> out;
  for (const Value& v : values_) {
    if (v.whole)
      out.emplace_back(v.name, static_cast<std::int64_t>(v.value));
    else
      out.emplace_back(v.name, v.value);
  }
  return out;
}

}  // namespace scalevec::experiments
