#include "models/model_folder.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "models/options_json.hpp"
#include "optim/config/checksum.hpp"

namespace scalevec::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// "a, b, c and 4 more"
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i) text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

std::string shape(const torch::Tensor& t) {
  std::ostringstream text;
  text << t.sizes();
  return text.str();
}

}  // namespace

std::string decoder_options_json(const DecoderOptions& o) {
  const std::string text = json_of(o).dump(1);
  // An option left out above would come back as its default, and with it another function.
  if (!(decoder_options_from_json(text) == o)) throw std::logic_error("decoder options do not survive being written");
  return text;
}

torch::Dtype load_weights(Model& model, const NamedTensors& weights, const std::string& what,
                          const std::function<std::string(const std::string&)>& name_of) {
  std::map<std::string, torch::Tensor> left(weights.begin(), weights.end());
  std::vector<std::string> missing, misshaped, no_floats, left_over;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> copies;
  std::optional<torch::Dtype> stored;
  std::vector<std::pair<std::string, torch::Tensor>> ours;
  for (const auto& p : model.named_parameters()) ours.emplace_back(p.key(), p.value());
  for (const auto& b : model.named_buffers()) ours.emplace_back(b.key(), b.value());
  for (auto& [key, parameter] : ours) {
    const std::string name = name_of ? name_of(key) : key;
    const auto it = left.find(name);
    if (it == left.end()) {
      missing.push_back(name);
      continue;
    }
    const torch::Tensor& value = it->second;
    if (value.sizes() != parameter.sizes())
      misshaped.push_back(name + " (" + shape(value) + " where " + shape(parameter) + " is needed)");
    else if (!value.is_floating_point())
      no_floats.push_back(name);
    else
      copies.emplace_back(parameter, value);
    stored = stored ? c10::promoteTypes(*stored, value.scalar_type()) : value.scalar_type();
    left.erase(it);
  }
  for (const auto& [name, value] : left) left_over.push_back(name);
  std::string wrong;
  for (const auto& [kind, names] : {std::pair("missing: ", &missing), std::pair("left over: ", &left_over),
                                    std::pair("of another shape: ", &misshaped), std::pair("no floats: ", &no_floats)})
    if (!names->empty()) wrong += (wrong.empty() ? "" : "; ") + (kind + listed(*names));
  if (!wrong.empty()) throw std::runtime_error(what + ": weights do not fit the options: " + wrong);

  const torch::NoGradGuard no_grad;
  model.to(stored == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32);
  for (auto& [parameter, value] : copies) parameter.copy_(value);
  return stored.value_or(torch::kFloat32);
}

void write_model_folder(const Model& model, const DecoderOptions& options, const fs::path& folder,
                        std::optional<torch::Dtype> dtype) {
  NamedTensors weights;
  const auto add = [&](const std::string& name, const torch::Tensor& value) {
    weights.emplace_back(name, dtype ? value.to(*dtype) : value);
  };
  for (const auto& p : model.named_parameters()) add(p.key(), p.value().detach());
  for (const auto& b : model.named_buffers()) add(b.key(), b.value());
  const std::string checksum = write_safetensors(folder / "model.safetensors", weights);
  const ordered_json json = {
      {"format", 1}, {"weights", checksum}, {"model", ordered_json::parse(decoder_options_json(options))}};
  std::ofstream out(folder / "model.json", std::ios::binary);
  out << with_checksum(json.dump(1) + "\n");
  if (!out.flush()) throw std::runtime_error((folder / "model.json").string() + ": cannot be written");
}

namespace {

struct ModelRecord {
  DecoderOptions options;
  std::string checksum;  // of model.safetensors; empty: of an older version
};

ModelRecord read_model_record(const fs::path& folder) {
  const std::string file = (folder / "model.json").string();
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw std::runtime_error(file + ": cannot be read");
  const nlohmann::json parsed = parse_record(text.str(), file);
  JsonReader json(parsed, file);
  json.integer("format", Range::between(1, 1));
  const std::string checksum = json.string("weights", "");
  JsonReader options_json = json.object("model");
  const DecoderOptions options = read_decoder_options(options_json);
  options_json.finish();
  json.finish();
  return {options, checksum};
}

}  // namespace

DecoderOptions model_folder_options(const fs::path& folder) { return read_model_record(folder).options; }

std::shared_ptr<Decoder> read_model_folder(const fs::path& folder, torch::Dtype* stored) {
  const ModelRecord record = read_model_record(folder);
  auto model = std::make_shared<Decoder>(record.options, 0);
  const fs::path weights = folder / "model.safetensors";
  const torch::Dtype dtype = load_weights(*model, read_safetensors(weights, record.checksum), weights.string());
  if (stored != nullptr) *stored = dtype;
  return model;
}

}  // namespace scalevec::models
