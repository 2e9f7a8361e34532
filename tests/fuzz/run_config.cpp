#include "experiments/train/run_config.hpp"

#include "experiments/record/overrides.hpp"
#include "optim/config/json_reader.hpp"
#include "tests/fuzz/targets.hpp"

using namespace scalevec::experiments;

// A run's configuration, and --set: what stands behind a first zero byte is an assignment.
void scalevec::fuzz::run_config(std::string_view bytes) {
  try {
    const auto zero = bytes.find('\0');
    nlohmann::json root = parse_json(bytes.substr(0, zero), "input");
    if (zero != std::string_view::npos) apply_set(root, bytes.substr(zero + 1));
    const RunConfig config = read_run_config(root);
    require(read_run_config(config.resolved).resolved == config.resolved,
            "a resolved configuration, read again, is itself");
  } catch (const ConfigError&) {
  }
}
