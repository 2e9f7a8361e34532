#include "experiments/plot/plot.hpp"

#include <cmath>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "experiments/errors.hpp"
#include "experiments/plot/gnuplot_program.hpp"
#include "experiments/plot/gnuplot_script.hpp"
#include "experiments/plot/shortest.hpp"
#include "experiments/system/staging_folder.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

// The pattern of a folder inside `dir`, so that a rename out of it stays in one file system. What killed calls left for
// the same plot is removed.
fs::path scratch_pattern(const fs::path& dir, const std::string& plot) {
  const std::string stem = ".plot-" + plot + "-";
  std::error_code ignored;
  std::vector<fs::path> others;
  for (const auto& entry : fs::directory_iterator(dir, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(stem) && name.size() == stem.size() + 6) others.push_back(entry.path());
  }
  for (const fs::path& path : others) TemporaryFolder::remove_if_left(path);
  return dir / (stem + "XXXXXX");
}

void write_file(const fs::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw RunError("cannot write " + file.string());
}

void publish(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw RunError("cannot write " + to.string() + ": " + error.message());
}

void check(const Plot& plot) {
  if (plot.name.empty() || plot.name[0] == '.' || plot.name.find_first_of("/\n\r") != std::string::npos)
    throw std::invalid_argument("plot: \"" + plot.name + "\" is no file stem");
  for (const Panel& panel : plot.panels)
    for (const Series& s : panel.series) {
      const bool bars = !s.y_low.empty() || !s.y_high.empty() || s.style == Series::Style::band;
      if (s.y.size() != s.x.size() || (bars && (s.y_low.size() != s.x.size() || s.y_high.size() != s.x.size())))
        throw std::invalid_argument("plot " + plot.name + ": series \"" + s.label +
                                    "\": x, y, y_low and y_high differ in length");
      if (s.style == Series::Style::cells &&
          (s.x_low.size() != s.x.size() || s.x_high.size() != s.x.size() || s.y_low.size() != s.x.size() ||
           s.y_high.size() != s.x.size() || s.value.size() != s.x.size()))
        throw std::invalid_argument("plot " + plot.name + ": series \"" + s.label +
                                    "\": cells need every edge and a value");
    }
}

// RFC 4180.
std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string cell(double x) { return std::isnan(x) ? "nan" : shortest(x); }

bool has_cells(const Plot& plot) {
  for (const Panel& panel : plot.panels)
    for (const Series& s : panel.series)
      if (s.style == Series::Style::cells) return true;
  return false;
}

// Tidy: one row per point. A panel without title goes by its number, absent error bars are empty. With cells a column
// of their values.
std::string csv_text(const Plot& plot) {
  std::ostringstream out;
  const bool cells = has_cells(plot);
  out << "panel,series,x,y,y_low,y_high" << (cells ? ",value\n" : "\n");
  for (size_t p = 0; p < plot.panels.size(); ++p) {
    const Panel& panel = plot.panels[p];
    const std::string name = cell(panel.title.empty() ? std::to_string(p + 1) : panel.title);
    for (const Series& s : panel.series)
      for (size_t i = 0; i < s.x.size(); ++i) {
        out << name << ',' << cell(s.label) << ',' << cell(s.x[i]) << ',' << cell(s.y[i]) << ',';
        if (!s.y_low.empty())
          out << cell(s.y_low[i]) << ',' << cell(s.y_high[i]);
        else
          out << ',';
        if (cells) out << ',' << (s.style == Series::Style::cells ? cell(s.value[i]) : "");
        out << '\n';
      }
  }
  return out.str();
}

}  // namespace

bool have_gnuplot() { return find_gnuplot().has_value(); }

PlotFiles write_plot(const Plot& plot, const fs::path& dir) {
  check(plot);
  const TemporaryFolder work(scratch_pattern(dir, plot.name));
  const auto inside = [&](const char* extension) { return work.path() / (plot.name + extension); };
  const auto final_place = [&](const char* extension) { return dir / (plot.name + extension); };
  write_file(inside(".csv"), csv_text(plot));
  write_file(inside(".gp"), gnuplot_script(plot));
  const auto gnuplot = find_gnuplot();
  const std::string failure = gnuplot ? run_gnuplot(*gnuplot, inside(".gp")) : "";

  PlotFiles files{final_place(".csv"), final_place(".gp"), {}, {}};
  publish(inside(".csv"), files.csv);
  publish(inside(".gp"), files.script);
  if (!failure.empty()) throw RunError("plot " + plot.name + ": " + failure);
  if (gnuplot) {
    files.svg = final_place(".svg");
    files.png = final_place(".png");
    publish(inside(".svg"), files.svg);
    publish(inside(".png"), files.png);
  }
  return files;
}

}  // namespace scalevec::experiments
