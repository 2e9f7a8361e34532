#include "optim/config/json_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace scalevec {
namespace {

using nlohmann::json;

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

constexpr int kMaxDepth = 64;

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t cost = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = row[j];
      row[j] = cost;
    }
  }
  return row[b.size()];
}

const json& empty_object() {
  static const json empty = json::object();
  return empty;
}

}  // namespace

json parse_json(std::string_view text, std::string_view what) {
  // nlohmann keeps the last of two equal keys without a word; a configuration that says a thing twice is a mistake.
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth)
      throw ConfigError(std::string(what) + ": nested beyond " + std::to_string(kMaxDepth) + " levels");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second && duplicate.empty())
      duplicate = parsed.get<std::string>();
    return true;
  };
  // nlohmann takes a zero byte for the end and leaves what follows unread; JSON has none.
  if (const size_t zero = text.find('\0'); zero != text.npos)
    throw ConfigError(std::string(what) + ": not valid JSON: byte " + std::to_string(zero) + " is zero");
  if (text.find_first_not_of(" \t\r\n") == text.npos)
    throw ConfigError(std::string(what) + ": is empty; allowed: JSON (write it again, or take a copy of it)");
  json result;
  try {
    result = json::parse(text.begin(), text.end(), watch, true, true);
  } catch (const json::parse_error& e) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i + 1 < e.byte && i < text.size(); ++i) {
      column = text[i] == '\n' ? 1 : column + 1;
      line += text[i] == '\n';
    }
    throw ConfigError(std::string(what) + ": not valid JSON at line " + std::to_string(line) + ", column " +
                      std::to_string(column));
  } catch (const json::out_of_range& e) {
    const std::string_view why = e.what();  // "[…] number overflow parsing '1e999'"
    const std::size_t number = why.find('\'');
    throw ConfigError(std::string(what) + ": a number is beyond double precision" +
                      (number == why.npos ? "" : ": " + std::string(why.substr(number, 60))));
  }
  if (!duplicate.empty()) throw ConfigError(std::string(what) + ": the key \"" + duplicate + "\" is given twice");
  return result;
}

json parse_json_if_sound(std::string_view text) {
  if (text.find('\0') != text.npos) return json(json::value_t::discarded);  // as in parse_json()
  bool deep = false;
  json value = json::parse(
      text.begin(), text.end(),
      [&deep](int depth, json::parse_event_t, json&) {
        deep = deep || depth > kMaxDepth;
        return !deep;
      },
      false);
  return deep ? json(json::value_t::discarded) : value;
}

json read_json_file(const std::string& file) {
  if (std::error_code error; std::filesystem::is_directory(file, error))
    throw ConfigError(file + ": is a folder; allowed: a JSON file");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  const int reason = errno;
  std::ostringstream text;
  if (in.is_open() && in.peek() != std::ifstream::traits_type::eof())
    text << in.rdbuf();  // fails with nothing to write
  if (!in.is_open() || in.bad() || text.fail())
    throw ConfigError(file + ": cannot be read" + (reason ? std::string(": ") + std::strerror(reason) : ""));
  return parse_json(text.str(), file);
}

std::string nearest_word(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  size_t least = std::max<size_t>(2, word.size() / 3) + 1;
  for (const auto& k : known) {
    const size_t distance = edit_distance(word, k);
    if (distance < least) {
      least = distance;
      best = k;
    }
  }
  return best;
}

JsonReader::JsonReader(const json& object, std::string path) : object_(&object), path_(std::move(path)) {
  if (!object.is_object())
    throw ConfigError((path_.empty() ? "configuration" : path_) + ": got " + shown(object) + "; allowed: an object");
}

std::string JsonReader::path(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

void JsonReader::fail(std::string_view key, const std::string& allowed) const {
  const auto it = object_->find(std::string(key));
  throw ConfigError(path(key) + ": " + (it == object_->end() ? "missing" : "got " + shown(*it)) +
                    "; allowed: " + allowed);
}

const json* JsonReader::find(std::string_view key) {
  const std::string name(key);
  if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) asked_.push_back(name);
  const auto it = object_->find(name);
  return it == object_->end() ? nullptr : &*it;
}

const json& JsonReader::require(std::string_view key, const char* what) {
  const json* v = find(key);
  if (v) return *v;
  std::vector<std::string> unread;
  for (const auto& [name, value] : object_->items())
    if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) unread.push_back(name);
  const std::string meant = nearest_word(key, unread);
  if (!meant.empty())
    throw ConfigError(path(meant) + ": unknown key; did you mean \"" + std::string(key) + "\", which is missing?");
  fail(key, what);
}

void JsonReader::expect(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) find(key);
  finish();
}

bool JsonReader::has(std::string_view key) { return find(key) != nullptr; }

std::int64_t JsonReader::as_integer(std::string_view key, const json& v, Range range) const {
  const std::string allowed =
      std::isinf(range.low) && std::isinf(range.high) ? "an integer" : "an integer, " + range.text();
  // 1e3 is a float to a JSON parser and an integer to a person.
  const bool whole =
      v.is_number_float() && std::floor(v.get<double>()) == v.get<double>() && std::abs(v.get<double>()) <= 0x1p53;
  if (!v.is_number_integer() && !whole) fail(key, allowed);
  if (v.is_number_unsigned() && v.get<std::uint64_t>() > std::uint64_t(std::numeric_limits<std::int64_t>::max()))
    fail(key, allowed);
  const auto n = whole ? static_cast<std::int64_t>(v.get<double>()) : v.get<std::int64_t>();
  if (!range.contains_integer(n)) fail(key, allowed);
  return n;
}

double JsonReader::as_number(std::string_view key, const json& v, Range range) const {
  if (!v.is_number() || !range.contains(v.get<double>()))
    fail(key, std::isinf(range.low) ? range.text() : "a number, " + range.text());
  return v.get<double>();
}

std::int64_t JsonReader::integer(std::string_view key, std::int64_t fallback, Range range) {
  const json* v = find(key);
  return v ? as_integer(key, *v, range) : fallback;
}

std::int64_t JsonReader::integer(std::string_view key, Range range) {
  return as_integer(key, require(key, "an integer"), range);
}

double JsonReader::number(std::string_view key, double fallback, Range range) {
  const json* v = find(key);
  return v ? as_number(key, *v, range) : fallback;
}

double JsonReader::number(std::string_view key, Range range) { return as_number(key, require(key, "a number"), range); }

bool JsonReader::boolean(std::string_view key, bool fallback) {
  const json* v = find(key);
  if (!v) return fallback;
  if (!v->is_boolean()) fail(key, "true, false");
  return v->get<bool>();
}

std::string JsonReader::string(std::string_view key, std::string fallback) {
  const json* v = find(key);
  if (!v) return fallback;
  if (!v->is_string()) fail(key, "a string");
  return v->get<std::string>();
}

std::string JsonReader::string(std::string_view key) {
  const json& v = require(key, "a string");
  if (!v.is_string()) fail(key, "a string");
  return v.get<std::string>();
}

std::string JsonReader::as_choice(std::string_view key, const json& v, const std::vector<std::string>& allowed) const {
  if (!v.is_string() || std::find(allowed.begin(), allowed.end(), v.get<std::string>()) == allowed.end())
    fail(key, joined(allowed));
  return v.get<std::string>();
}

std::string JsonReader::choice(std::string_view key, std::string fallback, const std::vector<std::string>& allowed) {
  const json* v = find(key);
  return v ? as_choice(key, *v, allowed) : fallback;
}

std::string JsonReader::choice(std::string_view key, const std::vector<std::string>& allowed) {
  return as_choice(key, require(key, joined(allowed).c_str()), allowed);
}

std::vector<std::string> JsonReader::strings(std::string_view key, std::vector<std::string> fallback) {
  const json* v = find(key);
  if (!v) return fallback;
  if (v->is_string()) return {v->get<std::string>()};
  if (!v->is_array()) fail(key, "a string or an array of strings");
  std::vector<std::string> out;
  for (const json& item : *v) {
    if (!item.is_string()) fail(key, "a string or an array of strings");
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::vector<std::int64_t> JsonReader::integers(std::string_view key, std::vector<std::int64_t> fallback, Range range) {
  const json* v = find(key);
  if (!v) return fallback;
  if (v->is_number()) return {as_integer(key, *v, range)};
  if (!v->is_array()) fail(key, "an integer or an array of integers");
  std::vector<std::int64_t> out;
  for (const json& item : *v) out.push_back(as_integer(key, item, range));
  return out;
}

std::vector<double> JsonReader::numbers(std::string_view key, std::vector<double> fallback, Range range) {
  const json* v = find(key);
  if (!v) return fallback;
  if (v->is_number()) return {as_number(key, *v, range)};
  if (!v->is_array()) fail(key, "a number or an array of numbers");
  std::vector<double> out;
  for (const json& item : *v) out.push_back(as_number(key, item, range));
  return out;
}

JsonReader JsonReader::object(std::string_view key) {
  const json* v = find(key);
  return JsonReader(v ? *v : empty_object(), path(key));
}

const json& JsonReader::value(std::string_view key) { return require(key, "a value"); }

std::vector<JsonReader> JsonReader::objects(std::string_view key) {
  const json* v = find(key);
  std::vector<JsonReader> out;
  if (!v) return out;
  if (!v->is_array()) fail(key, "an array of objects");
  for (size_t i = 0; i < v->size(); ++i) out.emplace_back((*v)[i], path(key) + "[" + std::to_string(i) + "]");
  return out;
}

void JsonReader::finish() const {
  for (const auto& [key, value] : object_->items()) {
    if (std::find(asked_.begin(), asked_.end(), key) != asked_.end()) continue;
    const std::string near = nearest_word(key, asked_);
    throw ConfigError(path(key) + ": unknown key" +
                      (near.empty() ? "; known here: " : "; did you mean \"" + near + "\"? Known here: ") +
                      joined(asked_));
  }
}

}  // namespace scalevec
