#include "experiments/scales/scale_source.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "experiments/errors.hpp"
#include "experiments/stored/stored_model.hpp"
#include "models/safetensors.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

std::vector<double> doubles_of(const Tensor& t) {
  const Tensor d = t.detach().to(torch::kFloat64).contiguous().flatten();
  return {d.data_ptr<double>(), d.data_ptr<double>() + d.numel()};
}

// Σ of squares over all dimensions but `axis`, in float64, a part of the rows at a time.
Tensor squares_along(const Tensor& w, std::int64_t axis) {
  const std::int64_t n = w.size(axis);
  Tensor sum = torch::zeros({n}, torch::kFloat64);
  const std::int64_t rows = w.size(0),
                     step = std::max<std::int64_t>(1, (1 << 22) * rows / std::max<std::int64_t>(w.numel(), 1));
  for (std::int64_t at = 0; at < rows; at += step) {
    const Tensor part = w.narrow(0, at, std::min(step, rows - at)).to(torch::kFloat64).square();
    if (axis == 0)
      sum.narrow(0, at, part.size(0)).copy_(part.flatten(1).sum(1));
    else
      sum += part.movedim(axis, -1).reshape({-1, n}).sum(0);
  }
  return sum;
}

std::string parts_message(const std::string& name, const Tensor& t, std::size_t size) {
  return name + ": of " + std::to_string(t.numel()) + " values has no dimension of the " + std::to_string(size) +
         " that its scale has";
}

// By the table of names.
class NamedSource {
 public:
  NamedSource(const fs::path& folder, const Architecture& architecture)
      : tensors_(folder), architecture_(architecture), prefix_(prefix_of()) {}

  ScaledModel read(const fs::path& folder) {
    ScaledModel out;
    out.notes = tensors_.notes();
    std::set<std::string> taken;
    for (const ScaleName& scale : architecture_.scales) {
      const std::vector<std::string> patterns = expanded(scale.scale), sites = expanded(scale.site);
      for (std::size_t i = 0; i < patterns.size(); ++i)
        for (const std::string& name : tensors_.names()) {
          const auto match = match_name(actual(patterns[i]), name);
          if (!match) continue;
          taken.insert(name);
          out.scales.push_back(scale_of(scale, sites[sites.size() == 1 ? 0 : i], name, *match, folder));
        }
    }
    if (out.scales.empty())
      throw UsageError(folder.string() + ": none of its tensors is a scale vector by the table of names for " +
                       architecture_.model_types.front() + "; --names FILE can name them");
    std::stable_sort(out.scales.begin(), out.scales.end(), [](const ScaleData& a, const ScaleData& b) {
      const auto key = [](const ScaleData& s) { return s.layer < 0 ? 1 << 30 : s.layer; };
      return key(a) < key(b);
    });
    for (const std::string& name : tensors_.names())
      if (!taken.contains(name) && tensors_.find(name)->shape.size() == 1 && name.ends_with("weight"))
        out.notes.push_back(name + ": a vector that the table of names does not have; left out");
    return out;
  }

 private:
  // What stands in place of the table's prefix: the table's, nothing, or a multimodal model's.
  std::string prefix_of() const {
    for (const std::string& candidate : {architecture_.prefix, std::string(), std::string("language_model.model."),
                                         std::string("model.language_model.")})
      for (const ScaleName& scale : architecture_.scales)
        for (const std::string& pattern : expanded(scale.scale))
          for (const std::string& name : tensors_.names())
            if (match_name(with(pattern, candidate), name)) return candidate;
    return architecture_.prefix;
  }
  std::string with(const std::string& pattern, const std::string& prefix) const {
    return pattern.starts_with(architecture_.prefix) ? prefix + pattern.substr(architecture_.prefix.size()) : pattern;
  }
  std::string actual(const std::string& pattern) const { return with(pattern, prefix_); }

  ScaleData scale_of(const ScaleName& scale, const std::string& site, const std::string& name, const NameMatch& match,
                     const fs::path& folder) {
    ScaleData data;
    data.name = name;
    data.site = site;
    data.layer = match.layer;
    data.gamma = doubles_of(tensors_.read(name));
    for (double& g : data.gamma) g += scale.offset;
    data.input = !scale.readers.empty() || !scale.tied.empty();
    std::vector<std::pair<std::string, int>> readers;
    for (const ReaderName& reader : scale.readers)
      for (std::string pattern : expanded(reader.name)) {
        pattern = actual(pattern);
        if (const std::size_t at = pattern.find("{L}"); at != std::string::npos)
          pattern.replace(at, 3, std::to_string(match.layer));
        if (pattern.find("{E}") == std::string::npos) {
          if (tensors_.find(pattern) != nullptr) readers.emplace_back(pattern, reader.axis);
        } else {
          for (const std::string& other : tensors_.names())
            if (match_name(pattern, other)) readers.emplace_back(other, reader.axis);
        }
      }
    if (readers.empty() && !scale.tied.empty() && tensors_.find(actual(scale.tied)) != nullptr)
      readers.emplace_back(actual(scale.tied), -1);
    if (!data.input) return data;
    if (readers.empty()) {
      data.note = "none of the maps that read it is in the folder";
      return data;
    }
    Tensor squares = torch::zeros({static_cast<std::int64_t>(data.gamma.size())}, torch::kFloat64);
    for (const auto& [reader, given_axis] : readers) {
      data.readers.push_back(reader);
      const models::SafetensorsEntry& entry = *tensors_.find(reader);
      if (!entry.dtype || c10::isIntegralType(*entry.dtype, true)) {
        data.note = reader + " is stored as " + entry.type + ", whose values are not read here";
        continue;
      }
      const Tensor w = tensors_.read(reader);
      const std::int64_t axis = given_axis < 0 ? w.dim() - 1 : given_axis;
      if (axis >= w.dim() || w.size(axis) != squares.size(0))
        throw UsageError(folder.string() + ": " + parts_message(reader, w, data.gamma.size()));
      squares += squares_along(w, axis);
      data.rows += static_cast<double>(w.numel()) / static_cast<double>(w.size(axis));
    }
    if (!data.note.empty()) data.rows = 0.0;  // a part of the maps says nothing of ‖w‖²/(cγ²)
    if (data.rows > 0.0) data.squares = doubles_of(squares);
    return data;
  }

  models::SafetensorsFolder tensors_;
  const Architecture& architecture_;
  std::string prefix_;
};

// By what the model states.
ScaledModel own_scales(const models::Decoder& model) {
  const torch::NoGradGuard no_grad;
  ScaledModel out;
  out.architecture = "scalevec";
  out.head_dim = model.options().head_dim;
  const auto parameters = model.named_parameters();
  for (const models::ScaleLink& link : model.scale_links()) {
    const ParamRole& role = model.role(link.scale);
    ScaleData data;
    data.name = link.scale;
    data.site = role.site + (role.side == ScaleSide::after && !role.site.ends_with("_norm") &&
                                     !role.site.ends_with("_post") && !role.site.ends_with(".multiplier")
                                 ? ".out"
                                 : "");
    data.layer = role.layer;
    data.input = link.folds();
    // 1 + δ in double, as it is read of a Hugging Face folder: in float32 it is rounded.
    const Tensor gamma = link.gamma.form() == models::ScaleForm::zero_centred
                             ? parameters[link.scale].detach().to(torch::kFloat64) + 1.0
                             : link.gamma.value().detach();
    data.gamma = doubles_of(gamma);
    const std::int64_t n = gamma.size(0);
    Tensor squares = torch::zeros({n}, torch::kFloat64);
    for (const std::string& map : link.maps) {
      const Tensor& w = parameters[map];
      const std::int64_t columns = w.size(1);
      if (n > columns && link.block == 0) {  // equal blocks of rows, each with its part of γ
        squares += w.detach().to(torch::kFloat64).square().view({n / columns, -1, columns}).sum(1).flatten();
      } else {
        const Tensor index = link.spread(torch::arange(n, torch::kFloat64), columns).to(torch::kInt64);
        squares.index_add_(0, index, squares_along(w.detach(), 1));
      }
      data.rows += static_cast<double>(w.numel()) / static_cast<double>(n);
      data.readers.push_back(map);
    }
    for (const std::string& map : link.rows) {
      const Tensor& w = parameters[map];
      if (w.size(0) == n)
        squares += squares_along(w.detach(), 0);
      else
        squares += w.detach().to(torch::kFloat64).square().sum();  // a scalar multiplier
      data.rows += static_cast<double>(w.numel()) / static_cast<double>(n);
      data.readers.push_back(map);
    }
    if (data.input) data.squares = doubles_of(squares);
    out.scales.push_back(std::move(data));
  }
  return out;
}

std::string known_types(const std::vector<Architecture>& extra) {
  std::set<std::string> types;
  for (const auto* list : {&extra, &built_in_architectures()})
    for (const Architecture& a : *list) types.insert(a.model_types.begin(), a.model_types.end());
  std::string text;
  for (const std::string& t : types) text += (text.empty() ? "" : ", ") + t;
  return text;
}

ScaledModel hugging_face_scales(const fs::path& folder, const std::vector<Architecture>& extra) {
  const std::string file = (folder / "config.json").string();
  nlohmann::json config = read_json_file(file);
  if (!config.is_object()) throw UsageError(file + ": is no JSON object");
  std::string type = config.value("model_type", nlohmann::json("")).is_string()
                         ? config.value("model_type", std::string())
                         : std::string();
  for (const auto* list : {&extra, &built_in_architectures()})
    for (const Architecture& a : *list) {
      if (std::find(a.model_types.begin(), a.model_types.end(), type) == a.model_types.end()) continue;
      ScaledModel out = NamedSource(folder, a).read(folder);
      out.architecture = type;
      const nlohmann::json& text =
          config.contains("text_config") && config["text_config"].is_object() ? config["text_config"] : config;
      const auto size = [&](const char* key) {
        return text.contains(key) && text[key].is_number_integer() ? text[key].get<std::int64_t>() : std::int64_t{0};
      };
      out.head_dim = size("head_dim");
      if (out.head_dim == 0 && size("num_attention_heads") > 0)
        out.head_dim = size("hidden_size") / size("num_attention_heads");
      return out;
    }
  throw UsageError(file + ": model_type: got \"" + type + "\"; allowed: " + known_types(extra) +
                   ", or what --names FILE describes");
}

}  // namespace

ScaledModel read_scales(const fs::path& folder, const std::vector<Architecture>& extra) {
  const bool hugging_face = fs::is_directory(folder) && fs::exists(folder / "config.json") &&
                            !fs::exists(folder / "model.json") && !fs::is_directory(folder / "checkpoints");
  ScaledModel out;
  try {
    out = hugging_face ? hugging_face_scales(folder, extra) : own_scales(*open_model(folder));
  } catch (const UsageError&) {
    throw;
  } catch (const c10::Error& e) {
    throw UsageError(folder.string() + ": " + e.what_without_backtrace());
  } catch (const std::runtime_error& e) {
    throw UsageError(e.what());
  }
  out.label = fs::path(folder.string().ends_with('/') ? folder.parent_path() : folder).filename().string();
  for (const ScaleData& s : out.scales)
    for (const double g : s.gamma)
      if (!std::isfinite(g)) throw UsageError(folder.string() + ": " + s.name + " has a value that is not finite");
  return out;
}

}  // namespace scalevec::experiments
