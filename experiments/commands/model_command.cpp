#include "experiments/commands/model_command.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "experiments/commands/scales_command.hpp"
#include "experiments/data/manifest.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/output_files.hpp"
#include "experiments/stored/eval.hpp"
#include "experiments/stored/logits.hpp"
#include "experiments/stored/model_info.hpp"
#include "experiments/stored/stored_model.hpp"
#include "experiments/system/file_io.hpp"
#include "models/fold.hpp"
#include "models/hugging_face.hpp"
#include "models/model_folder.hpp"

namespace scalevec::experiments {
namespace {

struct Paths {
  std::string in, out, tokens, dtype;
  std::vector<std::string> ignore;
  bool untie = false;
};

CLI::App* add(CLI::App& model, const char* name, const char* what, Paths& paths, const char* in, const char* out) {
  CLI::App* command = model.add_subcommand(name, what);
  command->add_option("DIR", paths.in, in)->required();
  if (out != nullptr) command->add_option("--out", paths.out, out)->required();
  return command;
}

void add_dtype(CLI::App& command, Paths& paths, const char* fallback) {
  command.add_option("--dtype", paths.dtype,
                     std::string("float32, bfloat16, float16 or float64; default: ") + fallback);
}

torch::Dtype dtype_of(const std::string& word, torch::Dtype fallback) {
  if (word.empty()) return fallback;
  if (word == "float32") return torch::kFloat32;
  if (word == "bfloat16") return torch::kBFloat16;
  if (word == "float16") return torch::kFloat16;
  if (word == "float64") return torch::kFloat64;
  throw UsageError("--dtype: got " + word + "; allowed: float32, bfloat16, float16, float64");
}

void print_notes(const StoredModel& model) {
  for (const std::string& note : model.notes) std::cout << "  note   " << note << "\n";
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// What a model came with goes into the folder of what is made of it.
void keep_companions(const StoredModel& model, const std::filesystem::path& folder) {
  if (model.hugging_face.empty()) return;
  std::filesystem::create_directories(folder / kHuggingFaceFolder);
  copy_companions(model.hugging_face, folder / kHuggingFaceFolder, true);
}

constexpr const char* kOurs = "Folder with model.json, a run's folder or RUN@STEP, or a Hugging Face folder";

void add_import(CLI::App& model) {
  const auto paths = std::make_shared<Paths>();
  CLI::App* command = add(model, "import", "Read a Hugging Face model folder", *paths,
                          "Folder with config.json and safetensors", "Folder to write: model.json, model.safetensors");
  command->add_option("--ignore", paths->ignore, "Key of config.json that does not change the function; repeatable")
      ->type_name("KEY");
  add_dtype(*command, *paths, "what the weights have");
  command->footer("Example:\n  scalevec model import ~/models/Llama-3-1B --out models/llama");
  command->callback([=] {
    const StoredModel stored = open_hugging_face(paths->in, paths->ignore);
    const torch::Dtype dtype = dtype_of(paths->dtype, stored.dtype);
    write_folder(paths->out, [&](const auto& folder) {
      models::write_model_folder(*stored.decoder, stored.decoder->options(), folder, dtype);
      keep_companions(stored, folder);
    });
    std::cout << "wrote " << paths->out << "\n";
    print_notes(stored);
    std::cout << "next: scalevec model info " << paths->out << "\n";
  });
}

void add_export(CLI::App& model) {
  const auto paths = std::make_shared<Paths>();
  CLI::App* command = add(model, "export", "Write a model in Hugging Face's layout", *paths, kOurs,
                          "Folder to write: config.json, model.safetensors");
  add_dtype(*command, *paths, "what the weights have");
  command->footer("Example:\n  scalevec model export runs/small --out models/small-hf");
  command->callback([=] {
    const StoredModel stored = open_stored(paths->in);
    const torch::Dtype dtype = dtype_of(paths->dtype, stored.dtype);
    const std::string source = stored.hugging_face.empty() ? "" : text_of(stored.hugging_face / "config.json");
    write_folder(paths->out, [&](const auto& folder) {
      models::export_hugging_face(*stored.decoder, folder, source, dtype);
      if (!stored.hugging_face.empty()) copy_companions(stored.hugging_face, folder, false);
    });
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
    check_output_file(paths->out, "--out", {"file of logits", [](std::string_view text) {
                                              const nlohmann::json before = parse_json_if_sound(text);
                                              const auto row = [](const nlohmann::json& value) {
                                                return value.is_array() && !value.empty();
                                              };
                                              return row(before) && row(before[0]) && row(before[0][0]);
                                            }});
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
  add_dtype(*command, *paths, "float32, which a fold rounds to");
  command->callback([=] {
    const StoredModel stored = open_stored(paths->in);
    const models::FoldResult result = models::fold(*stored.decoder, paths->untie);
    const torch::Dtype dtype = dtype_of(paths->dtype, stored.decoder->named_parameters()["embed.weight"].scalar_type());
    write_folder(paths->out, [&](const auto& folder) {
      models::write_model_folder(*result.model, result.model->options(), folder, dtype);
      keep_companions(stored, folder);
    });
    std::cout << "wrote " << paths->out << "\n  folded " << result.folded.size() << " scale vectors, which are 1 now\n";
    for (const auto& kept : result.kept) std::cout << "  kept   " << kept.scale << ": " << kept.reason << "\n";
  });
}

void add_eval(CLI::App& model) {
  struct Options {
    Paths paths;
    std::string data;
    EvalOptions eval;
  };
  const auto o = std::make_shared<Options>();
  CLI::App* command = add(model, "eval", "Validation loss and perplexity on prepared tokens", o->paths, kOurs, nullptr);
  command->add_option("--data", o->data, "Folder of tokens, as `scalevec data prepare` writes it")
      ->required()
      ->type_name("DIR");
  command->add_option("--length", o->eval.length, "Tokens of a window")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--sequences", o->eval.sequences, "Windows, spread over the whole split; 0: all")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  command->add_option("--batch", o->eval.batch, "Windows of a forward pass")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--ignore", o->paths.ignore, "Key of a Hugging Face config.json to pass over; repeatable")
      ->type_name("KEY");
  command->add_option("--out", o->paths.out, "JSON file to write the numbers to")->type_name("FILE");
  command->footer("Example:\n  scalevec model eval models/smollm2 --data tokens --length 512");
  command->callback([=] {
    if (!o->paths.out.empty())
      check_output_file(o->paths.out, "--out", json_kind("result of an evaluation", {"loss", "perplexity"}));
    const TokenFolderSource source(o->data, 0);
    const StoredModel stored = open_stored(o->paths.in, o->paths.ignore);
    check_tokenizer(stored.hugging_face, o->data);
    const auto manifest = read_manifest(o->data);
    const double bytes = manifest && manifest->val.tokens() > 0
                             ? static_cast<double>(manifest->val.bytes) / static_cast<double>(manifest->val.tokens())
                             : 0.0;
    const EvalResult result = evaluate(*stored.decoder, source, o->eval, bytes);
    if (!o->paths.out.empty()) write_file(o->paths.out, eval_json(result));
    print_notes(stored);
    std::cout << eval_text(result);
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
  CLI::App* model = app.add_subcommand("model", "Real models: import, export, logits, fold, info, eval, scales");
  model->require_subcommand(1);
  model->footer(
      "Example:\n  scalevec model import ~/models/Llama-3-1B --out models/llama\n  scalevec model info models/llama");
  add_import(*model);
  add_export(*model);
  add_logits(*model);
  add_fold(*model);
  add_info(*model);
  add_eval(*model);
  add_scales_command(*model);
}

}  // namespace scalevec::experiments
