#include "experiments/commands/scales_command.hpp"

#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "experiments/errors.hpp"
#include "experiments/plot/picture.hpp"
#include "experiments/record/output_files.hpp"
#include "experiments/scales/scale_report.hpp"
#include "experiments/scales/scale_source.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/staging_folder.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

struct ScalesOptions {
  std::vector<std::string> folders;
  std::string out, names;
  std::vector<double> decays;
};

std::string text_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || fs::is_directory(file)) throw UsageError(file + ": cannot be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

void run(const ScalesOptions& o) {
  std::vector<Architecture> extra;
  if (!o.names.empty()) extra = read_architectures(text_of(o.names), o.names);
  std::optional<Decays> decays;
  if (!o.decays.empty()) {
    decays = Decays{o.decays.at(0), o.decays.at(1)};
    if (!(decays->gamma >= 0.0) || !(decays->w > 0.0) || !std::isfinite(decays->gamma + decays->w))
      throw UsageError("--decays: allowed: finite numbers, λ_γ at least 0 and λ_w more than 0");
  }
  const fs::path out = o.out;
  check_output_folder(out, "--out");
  check_output_file(out / "index.html", "--out", page_kind());
  check_output_file(out / "scales.json", "--out", json_kind("result of model scales", {"models"}));
  std::vector<ModelScales> models;
  for (const std::string& folder : o.folders) {
    models.push_back(analysed(read_scales(folder, extra)));
    for (std::size_t i = 0; i + 1 < models.size(); ++i)
      if (models[i].label == models.back().label) models.back().label += " (" + std::to_string(models.size()) + ")";
  }
  make_folder(out / "figures");
  const nlohmann::ordered_json scales = scales_json(models, decays);
  std::vector<std::string> pictures;
  for (const Plot& plot : scale_plots(scales)) pictures.push_back(drawn(plot, out / "figures"));
  std::string command = "scalevec model scales";
  for (const std::string& folder : o.folders) command += " " + folder;
  if (!o.names.empty()) command += " --names " + o.names;
  for (std::size_t i = 0; i < o.decays.size(); ++i)
    command += (i == 0 ? " --decays " : " ") + std::to_string(o.decays[i]);
  write_file(out / "scales.csv", scales_csv(scales));
  write_file(out / "scales.json", scales.dump(1) + "\n");
  write_file(out / "index.html", scales_page(scales, pictures, command + " --out " + o.out));
  for (const ModelScales& m : models) {
    std::cout << m.label << " (" << m.architecture << "): " << m.scales.size() << " scale vectors\n";
    for (const Finding& f : findings(m, decays))
      std::cout << "  " << f.title << " (" << f.bears_on << "). " << f.text << "\n";
    const std::size_t shown = std::min<std::size_t>(m.notes.size(), 5);
    for (std::size_t i = 0; i < shown; ++i) std::cout << "  note: " << m.notes[i] << "\n";
    if (m.notes.size() > shown) std::cout << "  and " << m.notes.size() - shown << " more notes, on the page\n";
  }
  std::cout << "wrote " << (out / "index.html").string() << ", scales.csv, scales.json, figures/\n";
}

}  // namespace

void add_scales_command(CLI::App& model) {
  const auto options = std::make_shared<ScalesOptions>();
  CLI::App* command =
      model.add_subcommand("scales", "What the scale vectors of trained models look like, beside the theory");
  command->add_option("DIR", options->folders, "Hugging Face folders, folders with model.json, runs, or RUN@STEP")
      ->required();
  command->add_option("--out", options->out, "Folder for index.html, scales.csv, scales.json and figures/")->required();
  command->add_option("--names", options->names, "JSON file with tensor names of further architectures")
      ->type_name("FILE");
  command
      ->add_option("--decays", options->decays,
                   "Weight decays of scales and of maps that they were trained with, for T4")
      ->expected(2)
      ->type_name("GAMMA W");
  command->footer("Example:\n  scalevec model scales models/smollm2 --out atlas");
  command->callback([=] { run(*options); });
}

}  // namespace scalevec::experiments
