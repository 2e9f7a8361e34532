#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "experiments/commands/compare_command.hpp"
#include "experiments/compare/report.hpp"
#include "experiments/compare/tables.hpp"

namespace scalevec::experiments {

void add_report_command(CLI::App& app) {
  struct Arguments {
    std::vector<std::string> dirs;
    std::string out = "report.html", title;
  };
  CLI::App* command = app.add_subcommand("report", "Write an HTML report of a comparison or of runs");
  const auto a = std::make_shared<Arguments>();
  command->add_option("DIR", a->dirs, "A comparison's folder, or run folders")->required();
  command->add_option("--out", a->out, "The HTML file; its pictures and numbers go beside it")->capture_default_str();
  command->add_option("--title", a->title, "Heading; the comparison's name otherwise");
  command->footer("Example: scalevec report runs/grid --out report.html");
  command->callback([a] {
    if (a->dirs.size() == 1 && std::filesystem::exists(std::filesystem::path(a->dirs[0]) / "compare.json")) {
      const Comparison comparison = load_comparison(a->dirs[0]);
      const Analysis analysis = analyse(comparison);
      write_report(comparison, analysis, a->out, a->title);
      std::cout << warnings_text(comparison.grid, analysis);
    } else {
      write_report({a->dirs.begin(), a->dirs.end()}, a->out, a->title);
    }
    std::cout << "report: " << a->out << std::endl;
  });
}

}  // namespace scalevec::experiments
