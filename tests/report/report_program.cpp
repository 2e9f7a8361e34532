// The reporting half of the scalevec program, which needs no LibTorch: what the browser test calls.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "experiments/commands/compare_command.hpp"

using namespace scalevec::experiments;

int main(int argc, char** argv) {
  CLI::App app("compare and report of scalevec");
  app.require_subcommand(1);
  scalevec::experiments::add_compare_command(app);
  scalevec::experiments::add_report_command(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
