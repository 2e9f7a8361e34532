#include <torch/types.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "models/safetensors.hpp"
#include "optim/config/json_reader.hpp"

namespace scalevec::models {
namespace {

namespace fs = std::filesystem;

using Shards = std::map<std::string, std::set<std::string>>;  // file name → tensors

Shards read_index(const fs::path& index) {
  const auto refuse = [&](const std::string& what) { throw std::runtime_error(index.string() + ": " + what); };
  nlohmann::json json;
  try {
    json = read_json_file(index.string());
  } catch (const ConfigError& e) {  // of a file that the user wrote, which an index is not
    throw std::runtime_error(e.what());
  }
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    refuse("has no weight_map; allowed: an object from tensor to file name");
  Shards shards;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    if (!file.is_string()) refuse("\"" + tensor + "\" has no file name");
    const auto name = file.get<std::string>();
    // No path: an index must not reach outside its folder.
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos)
      refuse("\"" + tensor + "\" is in \"" + name + "\"; allowed: the name of a file in the same folder");
    shards[name].insert(tensor);
  }
  return shards;
}

}  // namespace

SafetensorsFolder::SafetensorsFolder(const fs::path& folder) {
  const fs::path single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
  const auto add = [&](const SafetensorsEntry& entry, std::size_t i) {
    names_.push_back(entry.name);
    where_[entry.name] = {files_.size() - 1, i};
  };
  if (fs::exists(single)) {
    files_.emplace_back(single);
    for (std::size_t i = 0; i < files_.back().entries().size(); ++i) add(files_.back().entries()[i], i);
    return;
  }
  if (!fs::exists(index))
    throw std::runtime_error(folder.string() + ": has neither model.safetensors nor model.safetensors.index.json");
  for (auto& [file, listed] : read_index(index)) {
    files_.emplace_back(folder / file);
    const std::vector<SafetensorsEntry>& entries = files_.back().entries();
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (listed.erase(entries[i].name) > 0)
        add(entries[i], i);
      else
        notes_.push_back((folder / file).string() + ": passed over \"" + entries[i].name +
                         "\", which the index does not list there");
    }
    if (!listed.empty())
      throw std::runtime_error((folder / file).string() + ": lacks \"" + *listed.begin() +
                               "\", which the index lists there");
  }
}

const SafetensorsEntry* SafetensorsFolder::find(const std::string& name) const {
  const auto it = where_.find(name);
  return it == where_.end() ? nullptr : &files_[it->second.first].entries()[it->second.second];
}

torch::Tensor SafetensorsFolder::read(const std::string& name) const {
  const auto [file, entry] = where_.at(name);
  return files_[file].read(files_[file].entries()[entry]);
}

NamedTensors SafetensorsFolder::read_all() const {
  // Shards are other programs' and have no checksums; a tensor that the index does not list is not read.
  if (files_.size() == 1 && files_[0].entries().size() == names_.size()) return files_[0].read_all();
  NamedTensors all;
  for (const std::string& name : names_) all.emplace_back(name, read(name));
  return all;
}

NamedTensors read_safetensors_folder(const fs::path& folder, std::vector<std::string>* notes) {
  const SafetensorsFolder in(folder);
  if (notes != nullptr) notes->insert(notes->end(), in.notes().begin(), in.notes().end());
  return in.read_all();
}

}  // namespace scalevec::models
