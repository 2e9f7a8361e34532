#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "optim/core/option.hpp"

// Strict reading of JSON configuration, shared by every layer that has options. Not installed.
namespace scalevec {

// Wrong configuration: one line with the path, the value and what is allowed.
struct ConfigError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// Parses text that may hold // and /* */ comments; `what` (a file or "policy") leads the message of a syntax error.
// A key given twice is an error, and so is nesting beyond 64 levels, which code that walks a value could not follow.
nlohmann::json parse_json(std::string_view text, std::string_view what);

// The same for text that need not be sound: a discarded value in place of an error, no comments, keys not checked.
nlohmann::json parse_json_if_sound(std::string_view text);

nlohmann::json read_json_file(const std::string& file);

// The word of `known` closest to `word` if it is close enough to be meant, else empty.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);

// Reads one object. Every getter notes its key; finish() then refuses the keys nobody asked for.
class JsonReader {
 public:
  // `path` is how messages name the object ("optimizer.rules[2]"); empty for the root.
  JsonReader(const nlohmann::json& object, std::string path);

  // Notes `keys` and refuses every other one at once, so that a misspelt key is named before one that is missing. For
  // objects with required keys; finish() is not needed after it.
  void expect(std::initializer_list<std::string_view> keys);

  bool has(std::string_view key);
  std::int64_t integer(std::string_view key, std::int64_t fallback, Range range = {});
  std::int64_t integer(std::string_view key, Range range = {});  // required
  double number(std::string_view key, double fallback, Range range = {});
  double number(std::string_view key, Range range = {});  // required
  bool boolean(std::string_view key, bool fallback);
  std::string string(std::string_view key, std::string fallback);
  std::string string(std::string_view key);  // required
  std::string choice(std::string_view key, std::string fallback, const std::vector<std::string>& allowed);
  std::string choice(std::string_view key, const std::vector<std::string>& allowed);          // required
  std::vector<std::string> strings(std::string_view key, std::vector<std::string> fallback);  // a string or an array
  std::vector<std::int64_t> integers(std::string_view key, std::vector<std::int64_t> fallback, Range range = {});
  std::vector<double> numbers(std::string_view key, std::vector<double> fallback, Range range = {});
  JsonReader object(std::string_view key);                // an absent key reads as {}
  const nlohmann::json& value(std::string_view key);      // required, any type
  std::vector<JsonReader> objects(std::string_view key);  // an array of objects; absent reads as []
  std::string path(std::string_view key) const;           // "optimizer.lr"
  [[noreturn]] void fail(std::string_view key, const std::string& allowed) const;  // "optimizer.lr: got -1; allowed: …"

  // Call after the last getter.
  void finish() const;

 private:
  const nlohmann::json* find(std::string_view key);
  const nlohmann::json& require(std::string_view key, const char* what);
  std::int64_t as_integer(std::string_view key, const nlohmann::json& v, Range range) const;
  double as_number(std::string_view key, const nlohmann::json& v, Range range) const;
  std::string as_choice(std::string_view key, const nlohmann::json& v, const std::vector<std::string>& allowed) const;

  const nlohmann::json* object_;
  std::string path_;
  std::vector<std::string> asked_;
};

}  // namespace scalevec
