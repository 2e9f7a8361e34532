#include "optim/config/option_json.hpp"

#include <algorithm>

namespace scalevec {
namespace {

using nlohmann::json;

void read(JsonReader& in, const Option& o, std::int64_t* at) {
  *at = o.required ? in.integer(o.key, o.range) : in.integer(o.key, *at, o.range);
}
void read(JsonReader& in, const Option& o, std::uint64_t* at) {
  *at = static_cast<std::uint64_t>(in.integer(o.key, static_cast<std::int64_t>(*at), o.range));
}
void read(JsonReader& in, const Option& o, int* at) { *at = static_cast<int>(in.integer(o.key, *at, o.range)); }
void read(JsonReader& in, const Option& o, double* at) {
  *at = o.required ? in.number(o.key, o.range) : in.number(o.key, *at, o.range);
}
void read(JsonReader& in, const Option& o, bool* at) { *at = in.boolean(o.key, *at); }
void read(JsonReader& in, const Option& o, std::string* at) {
  *at = o.words.empty() ? in.string(o.key, *at) : in.choice(o.key, *at, o.words);
}
void read(JsonReader& in, const Option& o, const EnumValue& at) {
  const std::string word = in.choice(o.key, o.words.at(at.get(at.at)), o.words);
  at.set(at.at, static_cast<std::size_t>(std::find(o.words.begin(), o.words.end(), word) - o.words.begin()));
}
void read(JsonReader& in, const Option& o, std::vector<std::int64_t>* at) { *at = in.integers(o.key, *at, o.range); }
void read(JsonReader& in, const Option& o, std::vector<double>* at) { *at = in.numbers(o.key, *at, o.range); }
void read(JsonReader& in, const Option& o, std::vector<std::string>* at) { *at = in.strings(o.key, *at); }

json value_of(const Option& o) {
  return std::visit(
      [&](const auto& at) -> json {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(at)>, EnumValue>)
          return o.words.at(at.get(at.at));
        else
          return *at;
      },
      o.value);
}

}  // namespace

void read_options(JsonReader& in, const Options& options) {
  for (const Option& o : options) std::visit([&](const auto& at) { read(in, o, at); }, o.value);
}

void write_options(json& out, const Options& options) {
  for (const Option& o : options)
    if (o.written) out[o.key] = value_of(o);
}

json json_of_options(const Options& options) {
  json out = json::object();
  write_options(out, options);
  return out;
}

json option_rows(const Options& options) {
  json rows = json::array();
  for (const Option& o : options) {
    const json value = value_of(o);
    const std::string fixed = value.is_string()         ? value.get<std::string>()
                              : value.is_number_float() ? number_text(value.get<double>())
                                                        : value.dump();
    rows.push_back({{"key", o.key},
                    {"default", o.required               ? "required"
                                : o.default_text.empty() ? fixed
                                                         : std::string(o.default_text)},
                    {"allowed", allowed_text(o)},
                    {"meaning", o.meaning}});
  }
  return rows;
}

}  // namespace scalevec
