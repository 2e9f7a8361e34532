#include "experiments/record/overrides.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "experiments/system/text.hpp"
#include "optim/config/json_reader.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

std::optional<size_t> index_in(const json& array, std::string_view key) {
  const auto index = whole_number(key);
  return index && static_cast<size_t>(*index) < array.size() ? std::optional<size_t>(*index) : std::nullopt;
}

// A key path taken apart. Empty keys: `error` says what is wrong with it.
struct KeyPath {
  std::vector<std::string> keys;
  bool replaces = false;  // ended in ':'
  std::string error;
};

// Dots part keys, but not in a quoted one, of which \" and \\ stand for themselves.
KeyPath parse_path(std::string_view path) {
  KeyPath out;
  if (path.ends_with(':')) {
    out.replaces = true;
    path.remove_suffix(1);
  }
  for (size_t at = 0;;) {
    std::string key;
    if (at < path.size() && path[at] == '"') {
      for (++at; at < path.size() && path[at] != '"'; ++at) {
        if (path[at] == '\\' && at + 1 < path.size()) ++at;
        key += path[at];
      }
      if (at == path.size()) return {{}, false, "a quoted key is not closed; allowed: \"key\""};
      if (++at < path.size() && path[at] != '.')
        return {{}, false, "a dot is missing after a quoted key; allowed: \"key\" or \"key\".another"};
    } else {
      const size_t dot = std::min(path.find('.', at), path.size());
      key = path.substr(at, dot - at);
      at = dot;
      if (key.empty()) return {{}, false, "an empty key; allowed: keys joined by dots, such as optimizer.lr"};
    }
    out.keys.push_back(std::move(key));
    if (at == path.size()) return out;
    ++at;
  }
}

void remove_from(json& parent, const std::string& key) {
  if (parent.is_object()) parent.erase(key);
  if (parent.is_array())
    if (const auto index = index_in(parent, key)) parent.erase(*index);
}

}  // namespace

void set_at(json& config, std::string_view path, const json& value, std::string_view what) {
  const std::string where = std::string(what) + ": " + std::string(path);
  const KeyPath parsed = parse_path(path);
  if (!parsed.error.empty()) throw ConfigError(where + ": " + parsed.error);
  json *node = &config, *parent = nullptr;
  std::string walked;
  for (const std::string& key : parsed.keys) {
    parent = node;
    if (node->is_null()) *node = json::object();
    if (node->is_array()) {
      const auto index = index_in(*node, key);
      if (!index)
        throw ConfigError(where + ": \"" + key + "\" is not an index of the array " + walked + " (allowed: below " +
                          std::to_string(node->size()) + ")");
      node = &(*node)[*index];
    } else if (node->is_object()) {
      if (value.is_null() && !node->contains(key)) return;
      node = &(*node)[key];
    } else {
      throw ConfigError(where + ": " + walked + " is " + node->dump() + ", not an object, and has no \"" + key + "\"");
    }
    walked += (walked.empty() ? "" : ".") + key;
  }
  if (value.is_null())
    remove_from(*parent, parsed.keys.back());
  else if (parsed.replaces)
    *node = value;
  else
    node->merge_patch(value);
}

const json* find_at(const json& config, std::string_view path) {
  const json* node = &config;
  const KeyPath parsed = parse_path(path);
  if (!parsed.error.empty()) return nullptr;
  for (const std::string& key : parsed.keys) {
    if (node->is_array()) {
      const auto index = index_in(*node, key);
      if (!index) return nullptr;
      node = &(*node)[*index];
    } else {
      if (!node->is_object()) return nullptr;
      const auto it = node->find(key);
      if (it == node->end()) return nullptr;
      node = &*it;
    }
  }
  return node;
}

namespace {

// The '=' that ends the key, not one in a quoted key.
size_t equals_of(std::string_view assignment) {
  bool quoted = false;
  for (size_t i = 0; i < assignment.size(); ++i) {
    if (assignment[i] == '"' && !(quoted && assignment[i - 1] == '\\')) quoted = !quoted;
    if (assignment[i] == '=' && !quoted) return i;
  }
  return std::string_view::npos;
}

}  // namespace

void apply_set(json& config, std::string_view assignment) {
  const size_t equals = equals_of(assignment);
  if (equals == 0 || equals == std::string_view::npos)
    throw ConfigError("--set: got \"" + std::string(assignment) + "\"; allowed: key.path=value");
  // Keys and strings are stored as JSON, which is UTF-8: dumping finds out.
  try {
    json(assignment).dump();
  } catch (const json::type_error&) {
    throw ConfigError("--set: the argument is not UTF-8; allowed: key.path=value in UTF-8");
  }
  const std::string text(assignment.substr(equals + 1));
  json value = parse_json_if_sound(text);
  if (value.is_discarded()) value = text;
  set_at(config, assignment.substr(0, equals), value, "--set");
}

std::vector<ChangedKey> changed_keys(const json& before, const json& now) {
  std::vector<ChangedKey> out;
  const auto add = [&](const auto& self, const json& a, const json& b, const std::string& path) -> void {
    if (a == b) return;
    if (!a.is_object() || !b.is_object()) {
      out.push_back({path, a, b});
      return;
    }
    json keys = a;
    keys.update(b);
    for (const auto& [key, unused] : keys.items())
      self(self, a.value(key, json()), b.value(key, json()), path.empty() ? key : path + "." + key);
  };
  add(add, before, now, "");
  return out;
}

}  // namespace scalevec::experiments
