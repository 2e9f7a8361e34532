#include "scalevec/experiments/compare/overrides.hpp"

#include <charconv>
#include <optional>
#include <string>

#include "scalevec/optim/config/json_reader.hpp"

namespace scalevec {
namespace {

using nlohmann::json;

std::optional<size_t> index_in(const json& array, std::string_view key) {
  size_t index = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  if (error != std::errc() || end != key.data() + key.size() || index >= array.size()) return std::nullopt;
  return index;
}

void merge(json& into, const json& value, const std::string& path, std::string_view what) {
  if (!value.is_object() || !into.is_object()) {
    into = value;
    return;
  }
  for (const auto& [key, item] : value.items()) set_at(into, key, item, std::string(what) + ": " + path);
}

}  // namespace

void set_at(json& config, std::string_view path, const json& value, std::string_view what) {
  const std::string where = std::string(what) + ": " + std::string(path);
  json* node = &config;
  std::string walked;
  for (std::string_view rest = path;;) {
    const size_t dot = rest.find('.');
    const std::string key(rest.substr(0, dot));
    if (key.empty()) throw ConfigError(where + ": an empty key; allowed: keys joined by dots, such as optimizer.lr");
    if (node->is_null()) *node = json::object();
    if (node->is_array()) {
      const auto index = index_in(*node, key);
      if (!index)
        throw ConfigError(where + ": \"" + key + "\" is not an index of the array " + walked + " (allowed: below " +
                          std::to_string(node->size()) + ")");
      node = &(*node)[*index];
    } else if (node->is_object()) {
      node = &(*node)[key];
    } else {
      throw ConfigError(where + ": " + walked + " is " + node->dump() + ", not an object, and has no \"" + key + "\"");
    }
    walked += (walked.empty() ? "" : ".") + key;
    if (dot == std::string_view::npos) break;
    rest = rest.substr(dot + 1);
  }
  merge(*node, value, std::string(path), what);
}

const json* find_at(const json& config, std::string_view path) {
  const json* node = &config;
  for (std::string_view rest = path;;) {
    const size_t dot = rest.find('.');
    const std::string key(rest.substr(0, dot));
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
    if (dot == std::string_view::npos) return node;
    rest = rest.substr(dot + 1);
  }
}

void apply_set(json& config, std::string_view assignment) {
  const size_t equals = assignment.find('=');
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

}  // namespace scalevec
