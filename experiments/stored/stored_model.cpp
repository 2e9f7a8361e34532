#include "experiments/stored/stored_model.hpp"

#include <torch/types.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "experiments/data/manifest.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/stored/stored_options.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/sha256.hpp"
#include "experiments/system/staging_folder.hpp"
#include "models/hugging_face.hpp"
#include "models/model_folder.hpp"
#include "models/options_json.hpp"
#include "optim/config/checksum.hpp"

namespace scalevec::experiments {
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
  const std::vector<fs::path> all = checkpoint_folders(run);
  if (all.empty()) throw UsageError(run.string() + ": is a run without a checkpoint yet");
  if (step.empty()) return all.back();
  std::string steps;
  for (const fs::path& folder : all) {
    std::string number = folder.filename().string().substr(std::string("step-").size());
    number.erase(0, std::min(number.find_first_not_of('0'), number.size() - 1));
    if (number == step) return folder;
    steps += (steps.empty() ? "" : ", ") + number;
  }
  throw UsageError(run.string() + ": has no checkpoint of step " + step + "; allowed: " + steps);
}

// The model of a run's configuration, which stands in `file`.
models::DecoderOptions configured_model(const nlohmann::json& config, const std::string& file) {
  JsonReader json(config, file);
  JsonReader model = json.object("model");
  model.choice("type", "decoder", {"decoder"});
  for (const char* key : {"from", "from_sha256", "optimizer_state", "go_on", "exact", "ignore"}) model.has(key);
  const models::DecoderOptions options = models::read_decoder_options(model);
  model.finish();
  return options;
}

// By config.json, which has no checksum of its own: the checkpoint says the same, or one of the two is of another run.
models::DecoderOptions run_options(const fs::path& run, const fs::path& checkpoint, const nlohmann::json& state) {
  const std::string file = (run / "config.json").string(), other = (checkpoint / "state.json").string();
  const models::DecoderOptions options = configured_model(read_json_file(file), file);
  const nlohmann::json stored = state.value("config", nlohmann::json());
  if (!stored.is_null() && models::json_of(configured_model(stored, other)) != models::json_of(options))
    throw RunError(file + ": has another model than " + other + ": one of the two was damaged, or is another run's");
  return options;
}

// The folder in one of ours with what the model came with, if it has one: as copy_companions() wrote it.
fs::path companions_in(const fs::path& model) {
  const fs::path folder = model / kHuggingFaceFolder;
  if (!fs::is_directory(folder)) return {};
  const fs::path record = folder / kCompanionChecksums;
  const auto kept = read_record(record);
  if (!kept) {
    note_without_checksum(folder);
    return folder;
  }
  const nlohmann::json files = kept->value("files", nlohmann::json::object());
  for (const auto& [name, said] : files.items())
    if (!fs::is_regular_file(folder / name) || checksum(read_whole(folder / name)) != said)
      throw RunError((folder / name).string() + ": is missing, or is not the one that " + record.string() +
                     " says: one of the two was damaged, or is another model's");
  return folder;
}

StoredModel open_run(const fs::path& run, const std::string& step, bool as_trained) {
  StoredModel out;
  const fs::path checkpoint = checkpoint_of(run, step);
  const nlohmann::json state = checkpoint_state(checkpoint);
  out.decoder = std::make_shared<models::Decoder>(run_options(run, checkpoint, state), 0);
  const bool average = !as_trained && fs::exists(checkpoint / kAverageWeights);
  const std::string name = average ? kAverageWeights : "weights.safetensors";
  out.dtype = models::load_weights(*out.decoder, models::read_safetensors(checkpoint / name, checksum_in(state, name)),
                                   (checkpoint / name).string());
  out.hugging_face = companions_in(run);
  return out;
}

enum class Kind { ours, run, hugging_face };
struct Place {
  fs::path folder;
  std::string step;
  Kind kind;
};

// Of a folder or RUN@STEP.
Place place_of(const fs::path& path) {
  Place place{path, {}, Kind::ours};
  const std::string text = path.string();
  if (const std::size_t at = text.rfind('@'); at != std::string::npos && !fs::exists(path)) {
    place.step = text.substr(at + 1);
    if (place.step.empty() || place.step.find_first_not_of("0123456789") != std::string::npos)
      throw UsageError(text + ": allowed: a folder with a model, or RUN@STEP");
    place.step.erase(0, std::min(place.step.find_first_not_of('0'), place.step.size() - 1));
    place.folder = text.substr(0, at);
  }
  if (!fs::is_directory(place.folder))
    throw UsageError(place.folder.string() + ": is no folder; allowed: a folder with a model");
  const bool ours = fs::exists(place.folder / "model.json");
  if (!ours && fs::is_directory(place.folder / "checkpoints"))
    place.kind = Kind::run;
  else if (!ours && fs::exists(place.folder / "config.json"))
    place.kind = Kind::hugging_face;
  else if (!ours)
    throw UsageError(place.folder.string() +
                     ": has no model.json, config.json or checkpoints; allowed: what `scalevec model import` or fold "
                     "wrote, a run, or a Hugging Face folder");
  if (!place.step.empty() && place.kind != Kind::run)
    throw UsageError(place.folder.string() + ": is no run, of which a step could be taken");
  return place;
}

std::string hash_of(const fs::path& file) {
  static std::map<std::string, std::string> known;  // by name, size and time
  const std::string key = file.string() + " " + std::to_string(fs::file_size(file)) + " " +
                          std::to_string(fs::last_write_time(file).time_since_epoch().count());
  if (!known.contains(key)) known[key] = sha256_file(file);
  return known[key];
}

}  // namespace

StoredModel open_stored(const fs::path& path, const std::vector<std::string>& ignore, bool as_trained) {
  const Place place = place_of(path);
  if (place.kind == Kind::hugging_face) return open_hugging_face(place.folder, ignore);
  return reading(place.folder, [&] {
    if (place.kind == Kind::run) return open_run(place.folder, place.step, as_trained);
    StoredModel out;
    out.decoder = models::read_model_folder(place.folder, &out.dtype);
    out.hugging_face = companions_in(place.folder);
    return out;
  });
}

StoredOptions stored_options(const std::string& path, const std::vector<std::string>& ignore) {
  const Place place = place_of(path);
  return reading(place.folder, [&] {
    StoredOptions out;
    std::vector<fs::path> files;
    if (place.kind == Kind::run) {
      const fs::path checkpoint = checkpoint_of(place.folder, place.step);
      out.options = run_options(place.folder, checkpoint, checkpoint_state(checkpoint));
      out.checkpoint = checkpoint.string();
      out.step = std::stoll(checkpoint.filename().string().substr(5));
      files = {checkpoint / "weights.safetensors"};
    } else if (place.kind == Kind::ours) {
      out.options = models::model_folder_options(place.folder);
      files = {place.folder / "model.safetensors"};
    } else {
      std::ifstream in(place.folder / "config.json", std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      out.options = models::decoder_options_from_hugging_face(text, (place.folder / "config.json").string(), ignore);
      for (const auto& entry : fs::directory_iterator(place.folder))
        if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
      if (fs::exists(place.folder / "model.safetensors")) files = {place.folder / "model.safetensors"};
      std::sort(files.begin(), files.end());
    }
    out.options = out.options.resolved();
    std::string hashes;
    for (const fs::path& file : files) {
      if (!fs::is_regular_file(file)) throw UsageError(file.string() + ": is missing");
      hashes += hash_of(file);
    }
    out.sha256 = files.size() == 1 ? hashes : sha256(hashes);
    return out;
  });
}

std::shared_ptr<models::Decoder> open_model(const fs::path& folder) { return open_stored(folder).decoder; }

StoredModel open_hugging_face(const fs::path& folder, const std::vector<std::string>& ignore) {
  return reading(folder, [&] {
    models::HuggingFaceModel read = models::read_hugging_face(folder, ignore);
    return StoredModel{read.model, read.stored, folder, read.notes};
  });
}

void check_tokenizer(const fs::path& hugging_face, const fs::path& data) {
  const auto manifest = read_manifest(data);
  if (!manifest || hugging_face.empty()) return;
  std::string own;
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    const fs::path file = hugging_face / name;
    if (!fs::is_regular_file(file)) continue;
    if (manifest->tokenizer.ends_with(hash_of(file))) return;
    if (own.empty()) own = file.string();
  }
  if (!own.empty())
    throw UsageError(data.string() + ": its tokens are of another tokenizer (" + manifest->tokenizer +
                     ") than the model's, " + own + "; allowed: tokens of `scalevec data prepare --tokenizer " +
                     hugging_face.string() + "`");
}

void copy_companions(const fs::path& from, const fs::path& to, bool config) {
  std::error_code error;
  nlohmann::json checksums = nlohmann::json::object();
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                           "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json",
                           "merges.txt", "chat_template.jinja", "chat_template.json"}) {
    if ((!config && std::string(name) == "config.json") || !fs::is_regular_file(from / name, error)) continue;
    const std::string text = read_whole(from / name);
    write_file(to / name, text);
    checksums[name] = checksum(text);
  }
  if (config) write_record(to / kCompanionChecksums, nlohmann::json{{"files", checksums}}.dump(1) + "\n");
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

}  // namespace scalevec::experiments
