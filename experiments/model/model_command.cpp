#include "scalevec/experiments/model/model_command.hpp"

#include <iostream>
#include <memory>
#include <string>

#include "scalevec/experiments/data/file_io.hpp"
#include "scalevec/experiments/model/logits.hpp"
#include "scalevec/experiments/model/model_info.hpp"
#include "scalevec/experiments/model/stored_model.hpp"
#include "scalevec/models/fold.hpp"
#include "scalevec/models/hugging_face.hpp"
#include "scalevec/models/model_folder.hpp"

namespace scalevec {
namespace {

struct Paths {
  std::string in, out, tokens;
  bool untie = false;
};

CLI::App* add(CLI::App& model, const char* name, const char* what, Paths& paths, const char* in, const char* out) {
  CLI::App* command = model.add_subcommand(name, what);
  command->add_option("model", paths.in, in)->required()->type_name("DIR");
  if (out != nullptr) command->add_option("--out", paths.out, out)->required();
  return command;
}

constexpr const char* kOurs = "Folder with model.json, or a run's folder";

void add_import(CLI::App& model) {
  const auto paths = std::make_shared<Paths>();
  CLI::App* command = add(model, "import", "Read a Hugging Face model folder", *paths,
                          "Folder with config.json and safetensors", "Folder to write: model.json, model.safetensors");
  command->footer("Example:\n  scalevec model import ~/models/Llama-3-1B --out models/llama");
  command->callback([=] {
    const auto decoder = open_hugging_face(paths->in);
    write_folder(paths->out, [&](const auto& folder) { write_model_folder(*decoder, decoder->options(), folder); });
    std::cout << "wrote " << paths->out << "\nnext: scalevec model info " << paths->out << "\n";
  });
}

void add_export(CLI::App& model) {
  const auto paths = std::make_shared<Paths>();
  CLI::App* command = add(model, "export", "Write a model in Hugging Face's layout", *paths, kOurs,
                          "Folder to write: config.json, model.safetensors");
  command->footer("Example:\n  scalevec model export runs/small --out models/small-hf");
  command->callback([=] {
    const auto decoder = open_model(paths->in);
    write_folder(paths->out, [&](const auto& folder) { export_hugging_face(*decoder, folder); });
    std::cout << "wrote " << paths->out << "\n";
  });
}

void add_logits(CLI::App& model) {
  const auto paths = std::make_shared<Paths>();
  CLI::App* command = add(model, "logits", "Logits of given token ids", *paths, kOurs, "JSON file to write");
  command->add_option("--tokens", paths->tokens, "JSON file: an array of rows of token ids")
      ->required()
      ->type_name("FILE");
  command->footer(
      "Example:\n  echo '[[1, 2, 3]]' >tokens.json\n"
      "  scalevec model logits models/llama --tokens tokens.json --out logits.json");
  command->callback([=] {
    const auto decoder = open_model(paths->in);
    write_file(paths->out, logits_json(*decoder, paths->tokens));
    std::cout << "wrote " << paths->out << "\n";
  });
}

void add_fold(CLI::App& model) {
  const auto paths = std::make_shared<Paths>();
  CLI::App* command = add(model, "fold", "Move input-class scale vectors into the maps that read them", *paths, kOurs,
                          "Folder to write: model.json, model.safetensors");
  command->add_flag("--untie", paths->untie,
                    "Give a tied model an unembedding, into which the final norm's scale folds");
  command->footer("Example:\n  scalevec model fold models/llama --out models/llama-folded --untie");
  command->callback([=] {
    const auto decoder = open_model(paths->in);
    const FoldResult result = fold(*decoder, paths->untie);
    write_folder(paths->out,
                 [&](const auto& folder) { write_model_folder(*result.model, result.model->options(), folder); });
    std::cout << "wrote " << paths->out << "\n  folded " << result.folded.size() << " scale vectors, which are 1 now\n";
    for (const auto& kept : result.kept) std::cout << "  kept   " << kept.scale << ": " << kept.reason << "\n";
  });
}

void add_info(CLI::App& model) {
  const auto paths = std::make_shared<Paths>();
  CLI::App* command = add(model, "info", "Parameters by role, and what the scale vectors hold", *paths, kOurs, nullptr);
  command->footer("Example:\n  scalevec model info models/llama");
  command->callback([=] { std::cout << model_info(*open_model(paths->in)); });
}

}  // namespace

void add_model_command(CLI::App& app) {
  CLI::App* model = app.add_subcommand("model", "Real models in and out: import, export, logits, fold, info");
  model->require_subcommand(1);
  model->footer(
      "Example:\n  scalevec model import ~/models/Llama-3-1B --out models/llama\n  scalevec model info models/llama");
  add_import(*model);
  add_export(*model);
  add_logits(*model);
  add_fold(*model);
  add_info(*model);
}

}  // namespace scalevec
