#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace scalevec::experiments {

// The keys of one object of a configuration.
struct OptionTable {
  std::string name;     // what docs/configuration.md calls it: "run", "decoder", "input_scale", "adamw", …
  std::string path;     // where it stands: "model.moe", "optimizer.rules[]"
  nlohmann::json rows;  // [{"key", "default", "allowed", "meaning"}, …]
  // Of a method: {"class", "source", "trains", "lr", its default, "state": [{"bytes" an element of a float32
  // parameter's buffer, "shape", of a matrix in words, "needed" by the defaults}, …]}; else null.
  nlohmann::json method = {};
};

// Of a run, of its models, and of the methods, all with their defaults.
std::vector<OptionTable> option_tables();

// One of the tables for a terminal. Throws ConfigError for an unknown name.
std::string option_text(const std::vector<OptionTable>& tables, const std::string& name);

}  // namespace scalevec::experiments
