#include "experiments/plot/plot.hpp"
#include "experiments/figures/series.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "experiments/errors.hpp"
#include "experiments/system/staging_folder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "scalevec_plot_XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()));
    path = pattern;
  }
  ~Folder() { fs::remove_all(path); }
  size_t entries() const { return static_cast<size_t>(std::distance(fs::directory_iterator(path), {})); }
  fs::path path;
};

// PATH for the length of a scope.
struct SearchPath {
  explicit SearchPath(const std::string& value) : old(std::getenv("PATH")) { setenv("PATH", value.c_str(), 1); }
  ~SearchPath() { setenv("PATH", old.c_str(), 1); }
  std::string old;
};

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Plot line_plot(std::vector<double> y) {
  Series s;
  s.label = "loss";
  for (size_t i = 0; i < y.size(); ++i) s.x.push_back(static_cast<double>(i));
  s.y = std::move(y);
  Panel panel;
  panel.title = "panel";
  panel.x_label = "step";
  panel.y_label = "loss";
  panel.key_position = "off";
  panel.series = {s};
  Plot plot;
  plot.name = "figure";
  plot.title = "title";
  plot.panels = {panel};
  return plot;
}

// Pen movements of the drawn curve in the SVG: gnuplot begins every stroke of a path with M.
size_t strokes(const std::string& svg) {
  const size_t start = svg.find("gnuplot_plot_1");
  REQUIRE(start != std::string::npos);
  const size_t end = svg.find("</g>\n\t</g>", start);
  const std::string curve = svg.substr(start, end == std::string::npos ? end : end - start);
  const size_t path = curve.find("<path");
  REQUIRE(path != std::string::npos);
  const std::string d = curve.substr(path, curve.find("/>", path) - path);
  return occurrences(d, "M");
}

}  // namespace

TEST_CASE("a plot is data, script and pictures", "[plot]") {
  REQUIRE(have_gnuplot());
  const Folder folder;
  Plot plot = line_plot({3.0, 2.5, 2.0});
  plot.panels[0].series[0].y_low = {2.9, 2.4, 1.9};
  plot.panels[0].series[0].y_high = {3.1, 2.6, 2.125};
  // What a killed call left is cleared away, which the count of entries below tells.
  fs::create_directories(folder.path / ".plot-figure-abcdef/half");
  const PlotFiles files = write_plot(plot, folder.path);
  CHECK(files.csv == folder.path / "figure.csv");
  CHECK(read(files.csv) ==
        "panel,series,x,y,y_low,y_high\npanel,loss,0,3,2.9,3.1\npanel,loss,1,2.5,2.4,2.6\npanel,loss,2,2,1.9,2.125\n");
  CHECK(contains(read(files.svg), "</svg>"));
  CHECK(contains(read(files.svg), ">loss<"));
  CHECK(read(files.png).substr(1, 3) == "PNG");
  CHECK(folder.entries() == 4);

  // The script alone draws the same picture in another folder.
  const Folder elsewhere;
  fs::copy(files.script, elsewhere.path / "figure.gp");
  REQUIRE(std::system(("cd '" + elsewhere.path.string() + "' && gnuplot -d figure.gp").c_str()) == 0);
  CHECK(read(elsewhere.path / "figure.svg") == read(files.svg));
  CHECK(read(elsewhere.path / "figure.png").size() > 1000);
}

TEST_CASE("a phase diagram is cells, a colour bar and the line along which it is zero", "[plot]") {
  // value = ln x + ln y: zero on xy = 1, which is straight in logarithms and so exact for linear interpolation.
  const std::vector<double> xs{0.25, 0.5, 1.0, 2.0, 4.0}, ys{0.3, 0.6, 1.2, 2.4};
  std::vector<double> value;
  for (const double y : ys)
    for (const double x : xs) value.push_back(std::log(x) + std::log(y));
  Plot plot = line_plot({});
  Panel& panel = plot.panels[0];
  panel.log_x = panel.log_y = true;
  panel.color_label = "log ratio";
  panel.color_limit = 3.0;
  panel.series = phase_diagram(xs, ys, value, true, true);
  REQUIRE(panel.series.size() == 2);
  size_t drawn = 0;
  for (size_t i = 0; i < panel.series[1].x.size(); ++i) {
    if (std::isnan(panel.series[1].x[i])) continue;
    ++drawn;
    CHECK(std::abs(panel.series[1].x[i] * panel.series[1].y[i] - 1.0) <= 1e-12);
  }
  CHECK(drawn >= 8);
  const Series& cells = panel.series[0];
  for (size_t i = 0; i < cells.x.size(); ++i) {
    CHECK(std::abs(cells.x_low[i] * cells.x_high[i] / (cells.x[i] * cells.x[i]) - 1.0) <= 1e-12);
    CHECK(std::abs(cells.x_high[i] / cells.x_low[i] - 2.0) <= 1e-12);
    CHECK(std::abs(cells.y_high[i] / cells.y_low[i] - 2.0) <= 1e-12);
  }
  const Folder folder;
  const PlotFiles files = write_plot(plot, folder.path);
  CHECK(read(files.csv).starts_with("panel,series,x,y,y_low,y_high,value\n"));
  CHECK(contains(read(files.svg), ">log ratio<"));
  panel.series[0].value.pop_back();
  CHECK_THROWS_AS(write_plot(plot, folder.path), std::invalid_argument);
}

TEST_CASE("of more panels than a renderer takes the first are drawn, and the title says so", "[plot]") {
  Folder folder;
  Plot plot = line_plot({1.0, 2.0, 3.0});
  plot.panels = std::vector<Panel>(250, plot.panels[0]);
  const PlotFiles files = write_plot(plot, folder.path);
  CHECK(contains(read(files.script), "(the first 21 of 250 panels; all are in the CSV)"));
  const std::string csv = read(files.csv);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 1 + 3 * 250);
  if (have_gnuplot()) CHECK(fs::exists(files.png));
}

TEST_CASE("a NaN breaks a line", "[plot]") {
  const Folder folder;
  const size_t whole = strokes(read(write_plot(line_plot({1, 2, 3, 4, 5, 6, 7}), folder.path).svg));
  const Plot broken = line_plot({1, 2, 3, std::nan(""), 5, 6, 7});
  const PlotFiles files = write_plot(broken, folder.path);
  CHECK(strokes(read(files.svg)) == whole + 1);
  CHECK(contains(read(files.csv), "panel,loss,3,nan,,\n"));
}

TEST_CASE("labels are plain text, whatever they hold", "[plot]") {
  const Folder folder;
  const fs::path trap = folder.path / "trap";
  Plot plot = line_plot({1.0, 2.0});
  const std::string awkward = "it's \"γ_∞\" {λ^2} @x ~y \\n %d $HOME `touch " + trap.string() + "`";
  plot.title = awkward;
  Panel& panel = plot.panels[0];
  panel.title = panel.x_label = panel.y_label = awkward + "', system('touch " + trap.string() + "') #";
  panel.key_position = "auto";
  panel.series[0].label = awkward;
  const PlotFiles files = write_plot(plot, folder.path);
  const std::string svg = read(files.svg);
  for (const char* part : {"it's", "γ_∞", "{λ^2}", "@x ~y", "\\n %d $HOME `touch"}) {
    INFO(part);
    CHECK(occurrences(svg, part) >= 5);  // title, panel title, both axes, key
  }
  CHECK_FALSE(fs::exists(trap));
  CHECK(contains(read(files.csv), "\"it's \"\"γ_∞\"\""));
  panel.series[0].label = "two\nlines";
  CHECK(contains(read(write_plot(plot, folder.path).svg), "two lines"));
}

TEST_CASE("what cannot be drawn leaves an empty frame, not an error", "[plot]") {
  const Folder folder;
  Plot plot = line_plot({std::nan(""), std::nan("")});
  CHECK(fs::exists(write_plot(plot, folder.path).svg));
  plot = line_plot({-1.0, 0.0});
  plot.panels[0].log_y = true;
  CHECK(fs::exists(write_plot(plot, folder.path).svg));
  plot = line_plot({});
  CHECK(fs::exists(write_plot(plot, folder.path).svg));
  plot.panels[0].series.clear();
  CHECK(fs::exists(write_plot(plot, folder.path).svg));
  plot.panels[0].series = line_plot({2.0}).panels[0].series;
  plot.panels[0].log_y = true;
  CHECK(fs::exists(write_plot(plot, folder.path).svg));
}

TEST_CASE("log axes have tick marks one can read", "[plot]") {
  const Folder folder;
  Plot plot = line_plot({3.0, 3.4, 4.1});
  plot.panels[0].log_y = true;
  const std::string narrow = read(write_plot(plot, folder.path).svg);
  CHECK(contains(narrow, ">3.4<"));  // gnuplot's own choice for this range is no label at all
  plot = line_plot({1e-4, 1e-1, 1e2});
  plot.panels[0].log_y = true;
  const std::string wide = read(write_plot(plot, folder.path).svg);
  CHECK(contains(wide, ">-3<"));  // an exponent, raised
}

TEST_CASE("without gnuplot data and script are written", "[plot]") {
  const Folder folder;
  const SearchPath nothing("");
  CHECK_FALSE(have_gnuplot());
  const PlotFiles files = write_plot(line_plot({1.0, 2.0}), folder.path);
  CHECK(files.svg.empty());
  CHECK(files.png.empty());
  CHECK(contains(read(files.csv), "panel,loss,1,2,,"));
  CHECK(contains(read(files.script), "set terminal svg"));
  CHECK(folder.entries() == 2);
}

TEST_CASE("several may draw the same plot at once", "[plot]") {
  REQUIRE(have_gnuplot());
  const Folder folder;
  std::mutex guard;
  std::string said;  // by those that failed
  std::vector<std::thread> drawing;
  for (int i = 0; i < 3; ++i)
    drawing.emplace_back([&] {
      for (int turn = 0; turn < 4; ++turn) try {
          write_plot(line_plot({3.0, 2.0}), folder.path);
        } catch (const std::exception& e) {
          const std::lock_guard lock(guard);
          said.append(e.what()) += "\n";
        }
    });
  for (std::thread& t : drawing) t.join();
  CHECK(said == "");
  CHECK(folder.entries() == 4);
}

TEST_CASE("a temporary folder is not taken for one that was left, at any moment", "[plot]") {
  const Folder folder;
  std::atomic<int> lost{0};
  std::vector<std::thread> working;
  for (int i = 0; i < 4; ++i)
    working.emplace_back([&] {
      for (int turn = 0; turn < 500; ++turn) {
        for (const auto& other : fs::directory_iterator(folder.path)) TemporaryFolder::remove_if_left(other.path());
        const TemporaryFolder work(folder.path / "work-XXXXXX");
        std::this_thread::yield();
        if (!std::ofstream(work.path() / "file").put('x').flush()) ++lost;
      }
    });
  for (std::thread& t : working) t.join();
  CHECK(lost == 0);
  CHECK(folder.entries() == 0);
}

TEST_CASE("a failure of gnuplot is an error with its message", "[plot]") {
  const Folder folder;
  fs::create_directory(folder.path / "bin");
  std::ofstream(folder.path / "bin" / "gnuplot")
      << "#!/bin/sh\necho 'figure.gp:7: line 7: no such thing' >&2\nexit 1\n";
  fs::permissions(folder.path / "bin" / "gnuplot", fs::perms::owner_all);
  const SearchPath fake((folder.path / "bin").string() + ":" + std::getenv("PATH"));
  std::string message;
  try {
    write_plot(line_plot({1.0, 2.0}), folder.path);
  } catch (const RunError& e) {
    message = e.what();
  }
  CHECK(message == "plot figure: figure.gp:7: line 7: no such thing");
  CHECK(fs::exists(folder.path / "figure.gp"));
  CHECK_FALSE(fs::exists(folder.path / "figure.svg"));
  CHECK(folder.entries() == 3);
}

TEST_CASE("a plot that means nothing is refused", "[plot]") {
  const Folder folder;
  Plot plot = line_plot({1.0, 2.0});
  plot.name = "../figure";
  CHECK_THROWS_AS(write_plot(plot, folder.path), std::invalid_argument);
  plot = line_plot({1.0, 2.0});
  plot.panels[0].series[0].x.pop_back();
  CHECK_THROWS_AS(write_plot(plot, folder.path), std::invalid_argument);
  plot = line_plot({1.0, 2.0});
  plot.panels[0].series[0].style = Series::Style::band;  // without edges
  CHECK_THROWS_AS(write_plot(plot, folder.path), std::invalid_argument);
  CHECK(folder.entries() == 0);
  CHECK_THROWS_AS(write_plot(line_plot({1.0}), folder.path / "absent"), RunError);
}
