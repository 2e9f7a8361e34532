#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "experiments/data/synthetic_source.hpp"
#include "models/decoder_options.hpp"
#include "models/toy/toy_options.hpp"
#include "optim/core/option.hpp"
#include "optim/core/schedule.hpp"

namespace scalevec::experiments {

// What a run starts from instead of random values.
struct StartFrom {
  std::string path, sha256;         // as stored_options() has them
  std::string checkpoint;           // folder of the run's checkpoint; empty: none
  std::int64_t step = -1;           // of it
  std::vector<std::string> ignore;  // keys of a Hugging Face config.json
  bool optimizer_state = false;     // go on with its optimizer's state
  bool go_on = false;               // count steps, and with them schedule and data, on from `step`
  bool exact = true;                // only where it is the same function
};

// The checked configuration of a training run. docs/configuration.md documents every key.
struct RunConfig {
  std::uint64_t seed = 1;       // of initial values, and of the noise of a toy
  std::uint64_t data_seed = 1;  // of the order of batches; the same as seed unless given
  int threads = 0;              // 0: as many as the machine has cores
  std::string device = "auto";  // auto, cpu, cuda
  bool deterministic = false;
  bool tf32 = false;
  std::string dtype = "float32";
  std::string autocast = "none";  // none, bfloat16: the type of products in the forward pass
  std::int64_t steps = 0;
  std::int64_t batch_size = 16;   // sequences per step
  std::int64_t accumulation = 1;  // micro-batches per step; divides batch_size
  std::int64_t sequence_length = 128;

  // Exactly one of these; toys need no data.
  std::optional<models::DecoderOptions> decoder;
  std::optional<models::ToyOptions> toy;
  std::optional<StartFrom> from;  // of a decoder

  std::string data_dir;  // empty: synthetic or none
  std::optional<SyntheticOptions> synthetic;

  nlohmann::json optimizer;  // a RolePolicy as JSON, which the library reads
  Schedule schedule;

  std::int64_t validation_every = 0;        // steps; 0: at the end only
  std::int64_t validation_sequences = 128;  // the same ones every time; fewer if the data has fewer
  std::int64_t validation_length = 128;     // tokens of each

  std::int64_t log_every = 10;
  std::int64_t traces_every = 10;  // 0: no traces
  bool snr = false;                // traces contain the signal-to-noise ratio of the gradients since the last trace
  bool tensorboard = false;        // event files beside the JSONL logs

  std::int64_t checkpoint_every = 0;  // steps; 0: by time only
  double checkpoint_minutes = 10.0;   // of wall clock between checkpoints; 0: not by time
  std::int64_t checkpoint_keep = 2;

  // The configuration with every default filled in. It is stored with the run and compared on resume.
  nlohmann::json resolved;
};

// The options of a configuration as data, one list for each object: "" (the run itself), "schedule", "validation",
// "log" and "checkpoint". They are stored in `config`.
Options run_fields(RunConfig& config);
Options validation_fields(RunConfig& config);
Options log_fields(RunConfig& config);
Options checkpoint_fields(RunConfig& config);

// Reads and checks a configuration. Throws ConfigError with one line: path, value, what is allowed.
RunConfig read_run_config(const nlohmann::json& root);
// The same of a JSON file after `key.path=value` assignments; errors name the file. UsageError for a comparison's file.
RunConfig read_run_config_file(const std::string& file, const std::vector<std::string>& sets);

}  // namespace scalevec::experiments
