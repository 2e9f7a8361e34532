#include "experiments/commands/options_command.hpp"

#include <cstdio>
#include <memory>

#include "experiments/figures/figure.hpp"
#include "experiments/train/option_tables.hpp"

namespace scalevec::experiments {
namespace {

// Those of a configuration, then the figures' parameters.
std::vector<OptionTable> all_tables() {
  std::vector<OptionTable> tables = option_tables();
  for (const Figure& f : figures()) tables.push_back({f.id, "theory " + f.id + " --set", f.parameter_rows()});
  return tables;
}

}  // namespace

void add_options_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("options", "Print the keys of a configuration: default, allowed values, meaning");
  command->footer("Example:\n  scalevec options decoder\nWithout a name it prints the names.");
  auto name = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  command->add_option("NAME", *name, "an object of the configuration, a toy, a method or a figure");
  command->add_flag("--json", *as_json, "all tables as JSON");
  command->callback([name, as_json] {
    const std::vector<OptionTable> tables = all_tables();
    nlohmann::ordered_json all = nlohmann::ordered_json::object();
    std::string names;
    for (const OptionTable& table : tables) {
      all[table.name] = {{"path", table.path}, {"options", table.rows}};
      if (!table.method.is_null()) all[table.name]["method"] = table.method;
      names += table.name + (table.path.empty() ? "" : "  " + table.path) + "\n";
    }
    const std::string text = *as_json ? all.dump(2) + "\n" : name->empty() ? names : option_text(tables, *name);
    std::fputs(text.c_str(), stdout);
  });
}

}  // namespace scalevec::experiments
