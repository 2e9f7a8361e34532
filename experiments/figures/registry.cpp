#include <fmt/args.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>

#include "experiments/figures/figure.hpp"
#include "optim/config/option_json.hpp"

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

nlohmann::json Figure::parameter_rows() const {
  nlohmann::json rows = option_rows(FigureValues(params, FigureQuality::quick).options());
  const nlohmann::json paper = option_rows(FigureValues(params, FigureQuality::paper).options());
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i]["default"] != paper[i]["default"])
      rows[i]["default"] =
          rows[i]["default"].get<std::string>() + ", at paper quality " + paper[i]["default"].get<std::string>();
  return rows;
}

FigureValues::FigureValues(const std::vector<FigureParam>& params, FigureQuality quality) {
  for (const FigureParam& p : params) {
    const double value = quality == FigureQuality::quick ? p.quick : p.paper;
    // They are handed on as doubles, and products of them must fit.
    if (p.whole && !(p.allowed.high <= 9007199254740992.0))
      throw std::logic_error("the figure parameter " + p.name + " has no upper bound");
    if (p.whole)
      values_.push_back({p, static_cast<std::int64_t>(value)});
    else
      values_.push_back({p, value});
  }
}

Options FigureValues::options() {
  Options out;
  for (Value& v : values_)
    std::visit([&](auto& now) { out.push_back({v.param.name, &now, v.param.allowed, {}, v.param.meaning}); }, v.now);
  return out;
}

double FigureValues::operator[](const std::string& name) const {
  const auto it = std::find_if(values_.begin(), values_.end(), [&](const auto& v) { return v.param.name == name; });
  if (it == values_.end()) throw std::logic_error("no figure parameter " + name);
  return std::visit([](const auto& now) { return static_cast<double>(now); }, it->now);
}

std::vector<FigureNumber> FigureValues::numbers() const {
  std::vector<FigureNumber> out;
  for (const Value& v : values_) std::visit([&](const auto& now) { out.emplace_back(v.param.name, now); }, v.now);
  return out;
}

}  // namespace scalevec::experiments
