#include "experiments/train/option_tables.hpp"

#include <c10/util/Type.h>

#include <algorithm>
#include <map>
#include <typeinfo>

#include "experiments/train/run_config.hpp"
#include "models/options_json.hpp"
#include "optim/method.hpp"

namespace scalevec::experiments {
namespace {

// A method's buffers of a matrix, their shapes in words: "rows", "cols", "elements", "blocks" of those of 8 bits.
nlohmann::json state_of(const MethodOptions& options) {
  constexpr std::int64_t kRows = 2 * kStateBlock, kCols = 3 * kStateBlock, kElements = kRows * kCols;
  const std::map<std::int64_t, std::string> words{
      {kRows, "rows"}, {kCols, "cols"}, {kElements, "elements"}, {kElements / kStateBlock, "blocks"}};
  nlohmann::json state = nlohmann::json::array();
  for (const BufferSpec& buffer : options.implementation().state(options, {kRows, kCols})) {
    std::vector<std::string> shape;
    for (const std::int64_t size : buffer.shape)
      if (words.contains(size)) shape.push_back(words.at(size));
    state.push_back(
        {{"bytes", buffer.kind == BufferSpec::Kind::codes ? 1 : 4}, {"shape", shape}, {"needed", buffer.needed}});
  }
  return state;
}

nlohmann::json method_facts(const MethodOptions& options) {
  std::string type = c10::demangle(typeid(options).name());  // scalevec::OptionsOf<scalevec::methods::AdamW>
  type = type.substr(type.rfind(':') + 1);
  const auto* matrix = dynamic_cast<const MatrixMethod*>(&options.implementation());
  return {{"class", type.substr(0, type.find('>'))},
          {"source", options.source()},
          {"trains", matrix && !matrix->any_shape() ? "matrices" : "anything"},
          {"lr", options.lr()},
          {"state", state_of(options)}};
}

}  // namespace

std::vector<OptionTable> option_tables() {
  std::vector<OptionTable> tables;
  const auto add = [&](std::string name, std::string path, const Options& options) {
    tables.push_back({std::move(name), std::move(path), option_rows(options)});
  };
  RunConfig run;
  add("run", "", run_fields(run));
  models::DecoderOptions decoder;
  models::GammaOptions gamma;
  add("decoder", "model", models::decoder_fields(decoder));
  add("scales", "model.scales", models::scale_fields(decoder.scales));
  add("gamma", "model.scales.input", models::gamma_fields(gamma));
  add("multipliers", "model.scales.multipliers", models::multiplier_fields(decoder.scales.multipliers));
  add("rope_scaling", "model.rope_scaling", models::rope_fields(decoder.rope_scaling));
  add("moe", "model.moe", models::moe_fields(decoder.moe));
  for (const std::string& type : models::toy_types()) {
    models::ToyOptions toy = models::toy_defaults(type);
    add(type, "model", models::toy_fields(toy));
  }
  SyntheticOptions synthetic;
  add("synthetic", "data.synthetic", synthetic.fields());
  add("schedule", "schedule", run.schedule.fields());
  add("validation", "validation", validation_fields(run));
  add("log", "log", log_fields(run));
  add("checkpoint", "checkpoint", checkpoint_fields(run));
  const auto any = make_method_options(method_names().front());
  Options rule = rule_fields(*any);
  rule.resize(rule.size() - any->own_fields().size());
  add("rule", "optimizer.rules[]", rule);
  for (const std::string& method : method_names()) {
    const auto options = make_method_options(method);
    add(method, "optimizer.rules[]", options->own_fields());
    tables.back().method = method_facts(*options);
  }
  return tables;
}

std::string option_text(const std::vector<OptionTable>& tables, const std::string& name) {
  std::vector<std::string> names;
  for (const OptionTable& table : tables) {
    names.push_back(table.name);
    if (table.name != name) continue;
    std::string out = table.path.empty() ? "" : table.path + "\n";
    for (const auto& row : table.rows)
      out += "  " + row["key"].get<std::string>() + ": " + row["meaning"].get<std::string>() + "\n      default " +
             row["default"].get<std::string>() + "; allowed: " + row["allowed"].get<std::string>() + "\n";
    return out;
  }
  const std::string near = nearest_word(name, names);
  throw ConfigError("options: got " + name + "; " + (near.empty() ? "" : "did you mean " + near + "? ") +
                    "allowed: " + joined(names));
}

}  // namespace scalevec::experiments
