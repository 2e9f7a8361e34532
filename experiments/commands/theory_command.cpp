#include "experiments/commands/theory_command.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <shared_mutex>
#include <thread>

#include "experiments/distributed/child_process.hpp"
#include "experiments/errors.hpp"
#include "experiments/figures/figure.hpp"
#include "experiments/figures/run_figure.hpp"
#include "experiments/figures/theory_page.hpp"
#include "experiments/plot/picture.hpp"
#include "experiments/record/output_files.hpp"
#include "experiments/system/text.hpp"
#include "optim/config/option_json.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

struct Request {
  std::vector<std::string> ids, settings;
  std::string out, quality = "quick", run;
  bool list = false, json = false, all = false;
  int jobs = 1;
};

std::string shown(double x) { return printed("%.4g", x); }

std::string with_nearest(const std::string& word, const std::vector<std::string>& known) {
  const std::string near = nearest_word(word, known);
  std::string text = near.empty() ? "; known:" : "; did you mean \"" + near + "\"? Known:";
  for (size_t i = 0; i < known.size(); ++i) text += (i ? ", " : " ") + known[i];
  return text;
}

// All that the figures say of themselves: what scripts/theory_docs.py writes the page from.
void print_json() {
  nlohmann::json all = nlohmann::json::array();
  for (const Figure& f : figures()) {
    all.push_back({{"id", f.id},
                   {"title", f.title},
                   {"formula", f.formula},
                   {"domain", f.domain},
                   {"code", f.code},
                   {"caption", f.caption},
                   {"params", f.parameter_rows()}});
  }
  std::cout << all.dump(2) << "\n";
}

void print_list() {
  for (const Figure& f : figures()) {
    std::cout << f.id << "  " << f.title << "\n    " << f.formula << "\n    holds for: " << f.domain << "\n";
    for (const FigureParam& p : f.params) {
      std::cout << "    " << p.name << "=" << shown(p.quick);
      if (p.paper != p.quick) std::cout << " (paper: " << shown(p.paper) << ")";
      std::cout << "  " << p.meaning << "\n";
    }
  }
}

std::vector<const Figure*> find_figures(const std::vector<std::string>& ids) {
  std::vector<const Figure*> found;
  std::vector<std::string> known;
  for (const Figure& f : figures()) known.push_back(f.id);
  for (const std::string& id : ids) {
    const auto it = std::find(known.begin(), known.end(), id);
    if (it == known.end()) throw UsageError("theory: unknown figure \"" + id + "\"" + with_nearest(id, known));
    found.push_back(&figures()[static_cast<size_t>(it - known.begin())]);
  }
  return found;
}

// A setting applies to each chosen figure that has the parameter; one that none has is an error.
std::vector<FigureValues> values_of(const std::vector<const Figure*>& chosen, const Request& request) {
  if (request.quality != "quick" && request.quality != "paper")
    throw UsageError("--quality: got \"" + request.quality + "\"; allowed: quick, paper");
  const auto quality = request.quality == "quick" ? FigureQuality::quick : FigureQuality::paper;
  std::vector<FigureValues> values;
  std::vector<std::string> known;
  for (const Figure* f : chosen) {
    values.emplace_back(f->params, quality);
    for (const FigureParam& p : f->params)
      if (std::find(known.begin(), known.end(), p.name) == known.end()) known.push_back(p.name);
  }
  for (const std::string& setting : request.settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError("--set: got \"" + setting + "\"; allowed: key=value");
    const std::string key = setting.substr(0, equals), text = setting.substr(equals + 1);
    nlohmann::json value = parse_json_if_sound(text);
    if (value.is_discarded()) value = text;
    bool used = false;
    for (FigureValues& v : values)
      for (const Option& option : v.options())
        if (option.key == key) {
          const nlohmann::json given{{key, value}};
          JsonReader in(given, "");
          read_options(in, {option});
          used = true;
        }
    if (!used) throw UsageError("--set: unknown key \"" + key + "\"" + with_nearest(key, known));
  }
  return values;
}

void write_whole(const fs::path& file, const std::string& text) {
  const fs::path part = file.string() + "." + std::to_string(getpid()) + ".part";
  std::ofstream out(part, std::ios::binary);
  out << text << "\n";
  out.close();
  std::error_code error;
  if (out) fs::rename(part, file, error);
  if (!out || error) {
    fs::remove(part, error);
    throw RunError("cannot write " + file.string());
  }
}

// A figure that fails to be drawn says why in its line, so that the others go on. `run`: the folder of a run that
// stands in for the simulation, whose errors end the command; empty: none.
// `writing`: held while files are written.
DrawnFigure draw_figure(const Figure& figure, const FigureValues& values, const fs::path& out, const std::string& run,
                        std::shared_mutex& writing) {
  try {
    const FigureResult result = run.empty() ? figure.run(values) : draw_over_run(figure.id, run);
    const std::shared_lock lock(writing);
    const std::string links = file_links(write_plot(result.plot, out), "");
    write_whole(out / (figure.id + ".caption.txt"), result.plot.caption);
    const std::string off = std::isnan(result.agreement) ? "an unknown amount (a run did not arrive or left its range)"
                                                         : shown(result.agreement);
    const char* const how = run.empty()          ? "off by "
                            : figure.id == "T14" ? "curvature over its limit at most "
                                                 : "off by a factor of ";
    return {&figure, how + off + ", allowed " + shown(result.required), result.agreement <= result.required,
            picture(result.plot, links)};
  } catch (const UsageError&) {
    throw;
  } catch (const std::exception& e) {
    if (!run.empty()) throw;  // a damaged run, say
    return {&figure, e.what(), false, ""};
  }
}

// work(0) … work(count − 1) on `jobs` threads; done(i, result) on this one, in order, each as soon as it can. True once
// all are done; false where stop() says so before: then done() has been called for what was ready, and threads are at
// work still.
template <class Work, class Done, class Stop>
bool run_in_order(size_t count, int jobs, const Work& work, const Done& done, const Stop& stop) {
  struct Shared {
    std::vector<std::promise<DrawnFigure>> promises;
    std::atomic<size_t> next{0};
  };
  const auto shared = std::make_shared<Shared>();
  shared->promises.resize(count);
  std::vector<std::future<DrawnFigure>> results;
  for (std::promise<DrawnFigure>& p : shared->promises) results.push_back(p.get_future());
  std::vector<std::thread> threads;
  for (size_t t = 0; t < std::min(count, static_cast<size_t>(jobs)); ++t)
    threads.emplace_back([shared, count, &work] {
      for (size_t i; (i = shared->next++) < count;) try {
          shared->promises[i].set_value(work(i));
        } catch (...) {
          shared->promises[i].set_exception(std::current_exception());
        }
    });
  std::exception_ptr first;
  for (size_t i = 0; i < count && !first; ++i) {
    while (!stop() && results[i].wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) continue;
    if (stop()) {
      shared->next = count;
      for (std::thread& t : threads) t.detach();
      for (; i < count; ++i) try {
          if (results[i].wait_for(std::chrono::seconds(0)) != std::future_status::ready) continue;
          // One whose gnuplot was interrupted too is not drawn.
          if (const DrawnFigure drawn = results[i].get(); !drawn.picture.empty()) done(i, drawn);
        } catch (...) {
        }
      return false;
    }
    try {
      done(i, results[i].get());
    } catch (...) {
      first = std::current_exception();
      shared->next = count;
    }
  }
  for (std::thread& t : threads) t.join();
  if (first) std::rethrow_exception(first);
  return true;
}

void run(const Request& request) {
  if (request.json && !request.list) throw UsageError("--json: allowed: with --list");
  if (request.list) return request.json ? print_json() : print_list();
  if (request.all && !request.ids.empty()) throw UsageError("theory: allowed: names of figures, or --all");
  if (request.ids.empty() && !request.all) throw UsageError("theory: name figures, or --all; --list shows them");
  if (request.jobs < 1 || request.jobs > 256)
    throw UsageError("--jobs: got " + std::to_string(request.jobs) + "; allowed: 1 to 256");
  if (request.out.empty()) throw UsageError("theory: --out DIR is missing");
  if (!request.run.empty() && (request.all || !request.settings.empty()))
    throw UsageError("--run: a run has its own parameters; allowed: without --all and --set");
  std::vector<std::string> ids = request.ids;
  if (request.all)
    for (const Figure& f : figures()) ids.push_back(f.id);
  const std::vector<const Figure*> chosen = find_figures(ids);
  std::vector<FigureValues> values = values_of(chosen, request);
  for (FigureValues& v : values) v.threads = request.jobs;
  const fs::path out = request.out;
  check_output_folder(out, "--out");
  if (request.all) check_output_file(out / "index.html", "--out", page_kind());

  std::string failures, undrawn;
  std::vector<DrawnFigure> pictures;
  const auto fail = [](std::string& lines, const std::string& line) { lines += (lines.empty() ? "" : "; ") + line; };
  if (!request.run.empty()) std::cout << steps_of_run(request.run) << std::endl;
  std::shared_mutex writing;
  const SignalGuard signals;
  // Named, as threads may outlive the call.
  const auto draw = [&](size_t i) { return draw_figure(*chosen[i], values[i], out, request.run, writing); };
  const auto drew = [&](size_t i, const DrawnFigure& drawn) {
    const std::string line = chosen[i]->id + ": " + drawn.line;
    // Over a run, where it parts from the prediction is the result, and not a failure.
    const bool over_run = !request.run.empty();
    const char* const end = drawn.picture.empty() ? ", not drawn"
                            : drawn.agrees        ? ", ok"
                            : over_run            ? ", the run parts from it"
                                                  : ", out";
    std::cout << line << end << std::endl;
    if (!drawn.agrees && !over_run) fail(drawn.picture.empty() ? undrawn : failures, line);
    pictures.push_back(drawn);
  };
  const bool whole = run_in_order(chosen.size(), request.jobs, draw, drew, [&] { return signals.count() > 0; });
  // What is being written is whole, and nothing more is.
  std::unique_lock<std::shared_mutex> no_more(writing, std::defer_lock);
  if (!whole) no_more.lock();
  if (request.all) {
    write_whole(out / "index.html", theory_page(pictures, request.quality, chosen.size()));
    std::cout << "page: " << (out / "index.html").string() << std::endl;
  }
  if (!whole) {
    std::cerr << "scalevec: interrupted: " << pictures.size() << " of " << chosen.size()
              << " figures drawn; the same command draws them all" << std::endl;
    // Threads at work on figures cannot be stopped.
    std::_Exit(128 + signals.first());
  }
  if (!have_gnuplot()) std::cerr << "gnuplot is not on PATH: wrote the data and the scripts that draw them\n";
  if (!undrawn.empty())
    throw RunError("not drawn: " + undrawn +
                   (failures.empty() ? "" : "; prediction and simulation disagree: " + failures));
  if (!failures.empty()) throw RunError("prediction and simulation disagree: " + failures);
}

}  // namespace

void add_theory_command(CLI::App& app) {
  const auto request = std::make_shared<Request>();
  CLI::App* command = app.add_subcommand("theory", "Draw figures of the theory: prediction over simulation");
  command->add_option("FIGURE", request->ids, "Figures to draw");
  command->add_flag("--all", request->all, "Draw every figure, and a page of all: index.html");
  command->add_option("--jobs", request->jobs, "Threads: figures drawn at a time, or parts of one (default 1)");
  command->add_flag("--list", request->list, "List the figures: formula, where it holds, parameters");
  command->add_flag("--json", request->json, "With --list: as JSON");
  command->add_option("--out", request->out, "Folder for FIGURE.csv, .gp, .svg, .png and .caption.txt");
  command->add_option("--set", request->settings, "key=value of a figure's parameter; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--quality", request->quality, "quick or paper: replicas and resolution (default quick)");
  command->add_option("--run", request->run,
                      "Folder of a run, which stands in for the simulation: T5, T11, T12, T13, T14");
  command->footer(
      "Examples:\n  scalevec theory T5 --out figures --set sigma=0.5\n  scalevec theory --all --out figures --jobs 2\n"
      "  scalevec theory T11 --run runs/one --out figures");
  command->callback([request] { run(*request); });
}

}  // namespace scalevec::experiments
