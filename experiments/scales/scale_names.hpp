#pragma once

#include <optional>
#include <string>
#include <vector>

// Which tensors of a Hugging Face folder are scale vectors and which maps read them: patterns, in data
// (scale_names.json, and what the user adds). Nothing is guessed from a tensor's shape.
namespace scalevec::experiments {

struct ReaderName {
  std::string name;  // a pattern
  int axis = -1;     // the dimension that γ multiplies; −1: the last, the columns of [out, in]
};

struct ScaleName {
  std::string site, scale;  // patterns
  std::vector<ReaderName> readers;
  std::string tied;     // the matrix that reads it where no reader is there; may be empty
  double offset = 0.0;  // γ is the stored value and this: 1 for zero-centred gains
};

struct Architecture {
  std::vector<std::string> model_types;
  std::vector<ScaleName> scales;
  std::string prefix = "model.";  // that names may lack
};

// The built-in table. ConfigError cannot happen, which a test checks.
const std::vector<Architecture>& built_in_architectures();

// From JSON text in the form of scale_names.json. ConfigError, led by `what`.
std::vector<Architecture> read_architectures(const std::string& text, const std::string& what);

// The words of `{a,b}` written out: "x.{q,k}.y" → "x.q.y", "x.k.y". {L} and {E} stay.
std::vector<std::string> expanded(const std::string& pattern);

// {L} and {E} of a name that fits a pattern without words; absent: it does not fit.
struct NameMatch {
  int layer = -1;
};
std::optional<NameMatch> match_name(const std::string& pattern, const std::string& name);

}  // namespace scalevec::experiments
