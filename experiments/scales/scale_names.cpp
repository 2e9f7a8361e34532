#include "experiments/scales/scale_names.hpp"

#include <algorithm>
#include <cctype>

#include "optim/config/json_reader.hpp"

namespace scalevec::experiments {

extern const char* const kBuiltInScaleNames;

namespace {

// Words of a pattern multiply.
constexpr int kMaxCommas = 12;

// A pattern, refused where it stands for more names than a layer has.
std::string pattern_of(const std::string& pattern, const std::string& path) {
  if (std::count(pattern.begin(), pattern.end(), ',') > kMaxCommas)
    throw ConfigError(path + ": has more than " + std::to_string(kMaxCommas) + " commas; allowed: fewer words in {…}");
  return pattern;
}

ReaderName reader_of(const nlohmann::json& value, const std::string& path) {
  if (value.is_string()) return {pattern_of(value.get<std::string>(), path), -1};
  JsonReader in(value, path);
  ReaderName reader;
  reader.name = pattern_of(in.string("name"), in.path("name"));
  reader.axis = static_cast<int>(in.integer("axis", -1, Range::between(-1, 7)));
  in.finish();
  return reader;
}

}  // namespace

std::vector<Architecture> read_architectures(const std::string& text, const std::string& what) {
  const nlohmann::json parsed = parse_json(text, what);
  if (!parsed.is_array()) throw ConfigError(what + ": the whole; allowed: an array of architectures");
  std::vector<Architecture> out;
  for (const auto& item : parsed) {
    JsonReader in(item, what + "[" + std::to_string(out.size()) + "]");
    Architecture a;
    a.model_types = in.strings("model_types", {});
    if (a.model_types.empty()) in.fail("model_types", "at least one model_type of a config.json");
    a.prefix = in.string("prefix", a.prefix);
    const double offset = in.number("offset", 0.0);
    for (JsonReader& scale : in.objects("scales")) {
      ScaleName s;
      s.site = pattern_of(scale.string("site"), scale.path("site"));
      s.scale = pattern_of(scale.string("scale"), scale.path("scale"));
      s.tied = pattern_of(scale.string("tied", ""), scale.path("tied"));
      s.offset = scale.number("offset", offset);
      if (scale.has("readers")) {
        const nlohmann::json& readers = scale.value("readers");
        if (!readers.is_array()) scale.fail("readers", "an array of names");
        for (const auto& reader : readers) s.readers.push_back(reader_of(reader, scale.path("readers")));
      }
      scale.finish();
      if (expanded(s.site).size() != 1 && expanded(s.site).size() != expanded(s.scale).size())
        throw ConfigError(scale.path("site") + ": has another number of words than scale");
      a.scales.push_back(std::move(s));
    }
    if (a.scales.empty()) in.fail("scales", "at least one");
    in.finish();
    out.push_back(std::move(a));
  }
  return out;
}

const std::vector<Architecture>& built_in_architectures() {
  static const std::vector<Architecture> all = read_architectures(kBuiltInScaleNames, "scale_names.json");
  return all;
}

std::vector<std::string> expanded(const std::string& pattern) {
  for (std::size_t open = pattern.find('{'); open != std::string::npos; open = pattern.find('{', open + 1)) {
    const std::size_t close = pattern.find('}', open);
    if (close == std::string::npos) break;
    const std::string inside = pattern.substr(open + 1, close - open - 1);
    if (inside == "L" || inside == "E") continue;
    std::vector<std::string> out;
    for (std::size_t at = 0; at <= inside.size();) {
      const std::size_t comma = std::min(inside.find(',', at), inside.size());
      for (const std::string& rest :
           expanded(pattern.substr(0, open) + inside.substr(at, comma - at) + pattern.substr(close + 1)))
        out.push_back(rest);
      at = comma + 1;
    }
    return out;
  }
  return {pattern};
}

std::optional<NameMatch> match_name(const std::string& pattern, const std::string& name) {
  NameMatch match;
  std::size_t n = 0;
  for (std::size_t p = 0; p < pattern.size();) {
    const bool layer = pattern.compare(p, 3, "{L}") == 0;
    if (layer || pattern.compare(p, 3, "{E}") == 0) {
      const std::size_t start = n;
      while (n < name.size() && std::isdigit(static_cast<unsigned char>(name[n]))) ++n;
      if (n == start || n - start > 6) return std::nullopt;
      if (layer) match.layer = std::stoi(name.substr(start, n - start));
      p += 3;
      continue;
    }
    if (n >= name.size() || name[n] != pattern[p]) return std::nullopt;
    ++n;
    ++p;
  }
  if (n != name.size()) return std::nullopt;
  return match;
}

}  // namespace scalevec::experiments
