#include "scalevec/experiments/model/stored_model.hpp"

#include <torch/types.h>

#include <algorithm>
#include <string>

#include "scalevec/experiments/data/staging_folder.hpp"
#include "scalevec/experiments/errors.hpp"
#include "scalevec/models/hugging_face.hpp"
#include "scalevec/models/model_folder.hpp"
#include "scalevec/models/options_json.hpp"

namespace scalevec {
namespace {

namespace fs = std::filesystem;

// A library's complaint about a file is the user's input at fault.
template <class Read>
auto reading(const fs::path& folder, Read&& read) {
  if (!fs::is_directory(folder)) throw UsageError(folder.string() + ": is no folder; allowed: a folder with a model");
  try {
    return read();
  } catch (const c10::Error& e) {
    throw UsageError(folder.string() + ": " + e.what_without_backtrace());
  } catch (const std::runtime_error& e) {
    throw UsageError(e.what());
  } catch (const std::invalid_argument& e) {
    throw UsageError(e.what());
  }
}

// The checkpoint of RUN, or of RUN@STEP.
fs::path checkpoint_of(const fs::path& run, const std::string& step) {
  fs::path found;
  std::string steps;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step-")) continue;
    std::string number = name.substr(5);
    number.erase(0, std::min(number.find_first_not_of('0'), number.size() - 1));
    steps += (steps.empty() ? "" : ", ") + number;
    if (step.empty() ? entry.path() > found : number == step) found = entry.path();
  }
  if (found.empty() && step.empty()) throw UsageError(run.string() + ": is a run without a checkpoint yet");
  if (found.empty())
    throw UsageError(run.string() + ": has no checkpoint of step " + step +
                     "; allowed: " + (steps.empty() ? "none yet" : steps));
  return found;
}

StoredModel open_run(const fs::path& run, const std::string& step) {
  const std::string file = (run / "config.json").string();
  const nlohmann::json parsed = read_json_file(file);
  JsonReader json(parsed, file);
  JsonReader model = json.object("model");
  model.choice("type", "decoder", {"decoder"});
  model.has("from");
  const DecoderOptions options = read_decoder_options(model);
  model.finish();
  StoredModel out;
  out.decoder = std::make_shared<Decoder>(options, 0);
  const fs::path weights = checkpoint_of(run, step) / "weights.safetensors";
  out.dtype = load_weights(*out.decoder, read_safetensors(weights), weights.string());
  if (fs::is_directory(run / kHuggingFaceFolder)) out.hugging_face = run / kHuggingFaceFolder;
  return out;
}

}  // namespace

StoredModel open_stored(const fs::path& path, const std::vector<std::string>& ignore) {
  fs::path folder = path;
  std::string step;
  const std::string text = path.string();
  if (const std::size_t at = text.rfind('@'); at != std::string::npos && !fs::exists(path)) {
    step = text.substr(at + 1);
    if (step.empty() || step.find_first_not_of("0123456789") != std::string::npos)
      throw UsageError(text + ": allowed: a folder with a model, or RUN@STEP");
    step.erase(0, std::min(step.find_first_not_of('0'), step.size() - 1));
    folder = text.substr(0, at);
  }
  return reading(folder, [&] {
    const bool run = fs::is_directory(folder / "checkpoints") && !fs::exists(folder / "model.json");
    if (!step.empty() && !run) throw UsageError(folder.string() + ": is no run, of which a step could be taken");
    if (run) return open_run(folder, step);
    if (fs::exists(folder / "model.json")) {
      StoredModel out;
      out.decoder = read_model_folder(folder, &out.dtype);
      if (fs::is_directory(folder / kHuggingFaceFolder)) out.hugging_face = folder / kHuggingFaceFolder;
      return out;
    }
    if (fs::exists(folder / "config.json")) return open_hugging_face(folder, ignore);
    throw UsageError(folder.string() +
                     ": has no model.json, config.json or checkpoints; allowed: what `scalevec model import` or fold "
                     "wrote, a run, or a Hugging Face folder");
  });
}

std::shared_ptr<Decoder> open_model(const fs::path& folder) { return open_stored(folder).decoder; }

StoredModel open_hugging_face(const fs::path& folder, const std::vector<std::string>& ignore) {
  return reading(folder, [&] {
    HuggingFaceModel read = read_hugging_face(folder, ignore);
    return StoredModel{read.model, read.stored, folder, read.notes};
  });
}

void copy_companions(const fs::path& from, const fs::path& to, bool config) {
  std::error_code error;
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                           "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json",
                           "merges.txt", "chat_template.jinja", "chat_template.json"}) {
    if ((!config && std::string(name) == "config.json") || !fs::is_regular_file(from / name, error)) continue;
    if (!fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing, error) || error)
      throw RunError((to / name).string() + ": cannot be written: " + error.message());
  }
}

void write_folder(const fs::path& out, const std::function<void(const fs::path&)>& write) {
  const fs::path target = final_folder(out);
  if (fs::exists(target) && !(fs::is_directory(target) && fs::is_empty(target)))
    throw UsageError("--out: " + out.string() + " exists; allowed: a new or an empty folder");
  StagingFolder staging(target);
  try {
    write(staging.path());
  } catch (const std::invalid_argument& e) {
    throw UsageError(e.what());
  } catch (const std::runtime_error& e) {
    throw RunError(e.what());
  }
  staging.commit();
}

}  // namespace scalevec
