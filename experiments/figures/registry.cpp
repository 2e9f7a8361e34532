#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "experiments/figures/figure.hpp"

namespace scalevec::experiments {

Figure figure_t1();
Figure figure_t2();
Figure figure_t3();
Figure figure_t4();
Figure figure_t5();
Figure figure_t6();
Figure figure_t7();
Figure figure_t8();
Figure figure_t9();
Figure figure_t10();
Figure figure_t11();
Figure figure_t12();
Figure figure_t13();
Figure figure_t14();
Figure figure_t15();
Figure figure_p1();
Figure figure_p2();
Figure figure_m1();
Figure figure_m2();
Figure figure_p3();
Figure figure_p4();
Figure figure_p5();
Figure figure_p6();
Figure figure_p7();
Figure figure_p8();
Figure figure_p9();

const std::vector<Figure>& figures() {
  static const std::vector<Figure> all = {
      figure_t1(),  figure_t2(), figure_t3(),  figure_t4(),  figure_t5(),  figure_t6(),  figure_t7(),
      figure_t8(),  figure_t9(), figure_t10(), figure_t11(), figure_t12(), figure_t13(), figure_t14(),
      figure_t15(), figure_p1(), figure_p2(),  figure_p3(),  figure_p4(),  figure_p5(),  figure_p6(),
      figure_p7(),  figure_p8(), figure_p9(),  figure_m1(),  figure_m2()};
  return all;
}

FigureValues::FigureValues(const std::vector<FigureParam>& params, FigureQuality quality) {
  for (const FigureParam& p : params) values_.emplace_back(p.name, quality == FigureQuality::quick ? p.quick : p.paper);
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
  for (auto& [name, old] : values_)
    if (name == param.name) old = value;
}

double FigureValues::operator[](const std::string& name) const {
  const auto it = std::find_if(values_.begin(), values_.end(), [&](const auto& v) { return v.first == name; });
  if (it == values_.end()) throw std::logic_error("no figure parameter " + name);
  return it->second;
}

}  // namespace scalevec::experiments
