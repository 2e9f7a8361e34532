#include "scalevec/experiments/model/stored_model.hpp"

#include <torch/types.h>

#include <algorithm>
#include <string>

#include "scalevec/experiments/compare/record_files.hpp"
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

fs::path latest_weights(const fs::path& run) {
  const std::vector<fs::path> all = checkpoint_folders(run);
  if (all.empty()) throw UsageError(run.string() + ": is a run without a checkpoint yet");
  return all.back() / "weights.safetensors";
}

std::shared_ptr<Decoder> open_run(const fs::path& run) {
  const std::string file = (run / "config.json").string();
  const nlohmann::json parsed = read_json_file(file);
  JsonReader json(parsed, file);
  JsonReader model = json.object("model");
  model.choice("type", "decoder", {"decoder"});
  const DecoderOptions options = read_decoder_options(model);
  model.finish();
  auto decoder = std::make_shared<Decoder>(options, 0);
  const fs::path weights = latest_weights(run);
  load_weights(*decoder, read_safetensors(weights), weights.string());
  return decoder;
}

}  // namespace

std::shared_ptr<Decoder> open_model(const fs::path& folder) {
  return reading(folder, [&] {
    if (!fs::exists(folder / "model.json") && fs::is_directory(folder / "checkpoints")) return open_run(folder);
    if (!fs::exists(folder / "model.json"))
      throw UsageError(folder.string() +
                       ": has no model.json; allowed: what `scalevec model import` or fold wrote, or a run");
    return read_model_folder(folder);
  });
}

std::shared_ptr<Decoder> open_hugging_face(const fs::path& folder) {
  return reading(folder, [&] { return import_hugging_face(folder); });
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
