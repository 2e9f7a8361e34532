#include "experiments/train/run_config.hpp"

#include <algorithm>

#include "experiments/data/validation_windows.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/overrides.hpp"
#include "experiments/stored/stored_options.hpp"
#include "models/options_json.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

// Integers up to 2⁵³ are exact in JSON's doubles.
const Range kSeed = Range::between(0, 9007199254740992.0);
// Steps, sequences and the like: so that no product or sum of them overflows 64 bits.
constexpr double kMaxCount = 1e12;
const Range kCount = Range::between(0, kMaxCount), kPositiveCount = Range::between(1, kMaxCount);

json decoder_json(const models::DecoderOptions& o) {
  json out = models::json_of(o);
  out["type"] = "decoder";
  return out;
}

// Keys of "model" that say how a run starts; and those that may be another than in what it starts from.
const std::vector<std::string> kStartKeys{"type", "from", "from_sha256", "optimizer_state", "go_on", "exact", "ignore"};
const std::vector<std::string> kFreeKeys{"scales",    "scale_vectors",      "qk_norm_scale",
                                         "execution", "init_depth_scaling", "init_std"};

bool among(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// A decoder that starts from a stored one: its architecture and vocabulary, and scales as they are given.
void read_started_model(const json& given, JsonReader in, RunConfig& config) {
  StartFrom from;
  from.path = in.string("from");
  from.ignore = in.strings("ignore", {});
  const StoredOptions found = stored_options(from.path, from.ignore);
  from.sha256 = found.sha256;
  from.checkpoint = found.checkpoint;
  from.step = found.step;
  if (in.string("from_sha256", found.sha256) != found.sha256)
    in.fail("from_sha256", found.sha256 + ", which the weights at " + from.path + " have now");
  from.optimizer_state = in.boolean("optimizer_state", false);
  from.go_on = in.boolean("go_on", false);
  from.exact = in.boolean("exact", true);
  if (from.optimizer_state && found.checkpoint.empty()) in.fail("optimizer_state", "false unless from is a run");
  if (from.go_on && found.checkpoint.empty()) in.fail("go_on", "false unless from is a run");
  json merged = models::json_of(found.options);
  for (const auto& [key, value] : given.items()) {
    in.has(key);
    if (among(kStartKeys, key)) continue;
    if (!among(kFreeKeys, key) && (!merged.contains(key) || merged[key] != value))
      in.fail(key, (merged.contains(key) ? merged[key].dump() : std::string("nothing")) + ", as the model at " +
                       from.path + " has it");
    merged[key] = value;
  }
  JsonReader model(merged, "model");
  config.decoder = models::read_decoder_options(model).resolved();
  model.finish();
  in.finish();
  if (from.optimizer_state && !(config.decoder->scales == found.options.scales))
    in.fail("optimizer_state", "false where scales are others than the model's: there is no state for them");
  config.resolved["model"] = decoder_json(*config.decoder);
  config.resolved["model"].update({{"from", from.path},
                                   {"from_sha256", from.sha256},
                                   {"optimizer_state", from.optimizer_state},
                                   {"go_on", from.go_on},
                                   {"exact", from.exact}});
  if (!from.ignore.empty()) config.resolved["model"]["ignore"] = from.ignore;
  config.from = std::move(from);
}

void read_model(JsonReader in, const json& given, RunConfig& config) {
  if (given.is_object() && given.contains("from") && given.value("type", json("decoder")) == "decoder")
    return read_started_model(given, std::move(in), config);
  std::vector<std::string> types = models::toy_types();
  types.insert(types.begin(), "decoder");
  const std::string type = in.choice("type", "decoder", types);
  if (type == "decoder") {
    config.decoder = models::read_decoder_options(in).resolved();
    config.resolved["model"] = decoder_json(*config.decoder);
  } else {
    config.toy = models::read_toy_options(type, in);
    config.resolved["model"] = models::json_of(*config.toy);
  }
  in.finish();
}

void read_synthetic(JsonReader in, RunConfig& config) {
  SyntheticOptions o;
  o.vocab_size = config.decoder->vocab_size;
  read_options(in, o.fields());
  in.finish();
  if (const std::string error = o.error(); !error.empty()) throw ConfigError("data.synthetic." + error);
  config.synthetic = o;
  config.resolved["data"]["synthetic"] = json_of_options(o.fields());
}

void read_data(JsonReader in, bool given, RunConfig& config) {
  if (!config.decoder) {
    if (given) throw ConfigError("data: a toy model takes no data; allowed: leave it out");
    return;
  }
  in.expect({"dir", "synthetic"});
  if (in.has("dir") == in.has("synthetic"))
    throw ConfigError("data: allowed: exactly one of \"dir\" (a folder of token shards) and \"synthetic\" (an object)");
  if (in.has("dir")) {
    config.data_dir = in.string("dir");
    config.resolved["data"]["dir"] = config.data_dir;
  } else {
    read_synthetic(in.object("synthetic"), config);
  }
}

void read_schedule(JsonReader in, RunConfig& config) {
  Schedule& s = config.schedule;
  s.total_steps = config.steps;
  read_options(in, s.fields());
  in.finish();
  if (s.shape != Schedule::Shape::constant && s.total_steps < config.steps)
    throw ConfigError("schedule.total_steps: got " + std::to_string(s.total_steps) + "; allowed: at least steps, " +
                      std::to_string(config.steps) + ", as the decay ends there");
  const std::string error = s.error();
  if (!error.empty()) throw ConfigError("schedule." + error);
  if (s.warmup_steps > s.total_steps)  // of any shape: the peak would not be reached
    throw ConfigError("schedule.warmup_steps: got " + std::to_string(s.warmup_steps) +
                      "; allowed: at most total_steps, " + std::to_string(s.total_steps) +
                      ", which is steps unless it is given");
  config.resolved["schedule"] = json_of_options(s.fields());
}

// {"every", "traces_every", "snr", "formats"}, or the formats alone.
void read_log(JsonReader& in, const json& root, RunConfig& config) {
  const bool list = root.is_object() && root.contains("log") && root["log"].is_array();
  const json wrapped = list ? json{{"formats", in.value("log")}} : json::object();
  JsonReader log = list ? JsonReader(wrapped, "log") : in.object("log");
  read_options(log, log_fields(config));
  if (config.snr && config.traces_every < 5)
    log.fail("snr",
             "false unless traces_every is 5 or more: a ratio takes the gradients of 4 steps after the first trace");
  const std::vector<std::string> formats = log.strings("formats", {"jsonl"});
  const auto given = [&](const char* word) { return std::count(formats.begin(), formats.end(), word); };
  config.tensorboard = given("tensorboard") > 0;
  if (given("jsonl") + given("tensorboard") != static_cast<std::ptrdiff_t>(formats.size()) || given("jsonl") == 0)
    log.fail("formats", R"(["jsonl"] or ["jsonl", "tensorboard"]: reports and --resume read the JSONL logs)");
  log.finish();
}

}  // namespace

Options run_fields(RunConfig& c) {
  const Range length = Range::between(1, 1 << 20);
  return {
      {"seed", &c.seed, kSeed, {}, "seed of the initial values, and of the noise of a toy model"},
      {"data_seed", &c.data_seed, kSeed, {}, "seed of the order of batches", false, true, "seed"},
      {"threads", &c.threads, Range::between(0, 1024), {}, "CPU threads; 0: one per core"},
      {"device", &c.device, {}, {"auto", "cpu", "cuda"}, "auto: cuda if there is one, else cpu"},
      {"dtype", &c.dtype, {}, {"float32", "float64"}, "of parameters; toy models only float64, their default"},
      {"autocast",
       &c.autocast,
       {},
       {"none", "bfloat16"},
       "bfloat16: linear maps are computed in bfloat16, and attention reads and writes bfloat16 (on the CPU it is "
       "computed in float32). Parameters, residual stream, norms, loss and optimizer stay in float32. Needs dtype "
       "float32",
       false,
       c.autocast != "none"},
      // Left out where it is off, so that runs from before there was a choice go on.
      {"deterministic",
       &c.deterministic,
       {},
       {},
       "the same bits each time on one GPU, which is slower: attention and embeddings add gradients in a fixed order. "
       "On the CPU runs have the same bits anyway",
       false,
       c.deterministic},
      {"tf32",
       &c.tf32,
       {},
       {},
       "on a GPU, products of float32 matrices round their factors to TF32, which has 10 bits of mantissa, and are "
       "faster. Not of bfloat16",
       false,
       c.tf32},
      {"steps", &c.steps, kPositiveCount, {}, "optimizer steps", true},
      {"batch_size",
       &c.batch_size,
       length,
       {},
       "sequences per step, over all processes of the run; at most as many as the training data has. Toy models: 1"},
      {"accumulation", &c.accumulation, kPositiveCount, {}, "micro-batches per step; a divisor of batch_size"},
      {"sequence_length", &c.sequence_length, length, {}, "tokens per sequence"}};
}

Options validation_fields(RunConfig& c) {
  return {{"every", &c.validation_every, kCount, {}, "steps between validations; 0: only at the end"},
          {"sequences",
           &c.validation_sequences,
           kPositiveCount,
           {},
           "validation sequences, the same ones every time; fewer if the data has fewer"},
          {"sequence_length",
           &c.validation_length,
           Range::between(1, 1 << 20),
           {},
           "tokens of a validation sequence",
           false,
           true,
           "the run's"}};
}

Options log_fields(RunConfig& c) {
  return {{"every", &c.log_every, kPositiveCount, {}, "steps between lines of metrics.jsonl"},
          {"traces_every", &c.traces_every, kCount, {}, "steps between traces; 0: none"},
          // Left out where it is off, so that runs from before there was a choice go on.
          {"snr",
           &c.snr,
           {},
           {},
           "adds the signal-to-noise ratio of the gradients to each trace. Needs traces_every of 5 or more, one "
           "process, and memory for two more tensors of the size of each parameter",
           false,
           c.snr}};
}

Options checkpoint_fields(RunConfig& c) {
  return {{"every", &c.checkpoint_every, kCount, {}, "steps between checkpoints; 0: by time only"},
          {"minutes", &c.checkpoint_minutes, Range::between(0, 1e6), {}, "minutes between checkpoints; 0: not by time"},
          {"keep", &c.checkpoint_keep, kPositiveCount, {}, "how many of the newest are kept"}};
}

RunConfig read_run_config(const json& root) {
  JsonReader in(root, "");
  in.expect({"name",  "seed",      "data_seed", "threads",    "device",     "deterministic", "tf32",
             "steps", "model",     "dtype",     "autocast",   "batch_size", "accumulation",  "sequence_length",
             "data",  "optimizer", "schedule",  "validation", "log",        "checkpoint"});
  RunConfig c;
  read_model(in.object("model"), root.contains("model") ? root["model"] : json::object(), c);
  const bool toy = !c.decoder;
  if (toy) c.dtype = "float64", c.batch_size = 1;
  read_options(in, run_fields(c));
  if (!in.has("data_seed")) c.data_seed = c.seed;
  if (c.from && c.from->go_on && c.from->step >= c.steps)
    in.fail("steps", "more than " + std::to_string(c.from->step) + ", the step that the model goes on from");
  // 2^60 tokens.
  if (static_cast<double>(c.steps) * static_cast<double>(c.batch_size * c.sequence_length) > 1152921504606846976.0)
    in.fail("steps", "fewer: steps, batch_size and sequence_length make more than 2^60 tokens");
  if (c.batch_size % c.accumulation != 0)
    in.fail("accumulation", "a divisor of batch_size, " + std::to_string(c.batch_size));
  if (toy && c.dtype != "float64") in.fail("dtype", "float64 for a toy model");
  if (c.autocast != "none" && (toy || c.dtype != "float32"))
    in.fail("autocast", toy ? "none for a toy model" : "none unless dtype is float32, which the weights stay in");
  if (toy && c.accumulation != 1) in.fail("accumulation", "1 for a toy model");
  if (toy && c.batch_size != 1) in.fail("batch_size", "1 for a toy model, which has replicas in its place");
  if (toy && c.sequence_length != kDefaultSequenceLength) in.fail("sequence_length", "left out for a toy model");
  read_data(in.object("data"), in.has("data"), c);
  c.optimizer = in.value("optimizer");
  if (!c.optimizer.is_object()) in.fail("optimizer", "an object: a policy");
  read_schedule(in.object("schedule"), c);

  JsonReader validation = in.object("validation");
  if (validation.has("batches") && validation.has("sequences"))
    validation.fail("batches", "either sequences, or batches (of batch_size sequences), not both");
  c.validation_length = c.sequence_length;
  read_options(validation, validation_fields(c));
  if (validation.has("batches"))
    c.validation_sequences = c.batch_size * validation.integer("batches", Range::between(1, 1 << 30));
  validation.finish();
  read_log(in, root, c);
  JsonReader checkpoint = in.object("checkpoint");
  read_options(checkpoint, checkpoint_fields(c));
  checkpoint.finish();
  in.string("name", "");

  write_options(c.resolved, run_fields(c));
  c.resolved["optimizer"] = c.optimizer;
  c.resolved["validation"] = json_of_options(validation_fields(c));
  c.resolved["log"] = json_of_options(log_fields(c));
  // As snr: left out where it is off.
  if (c.tensorboard) c.resolved["log"]["formats"] = {"jsonl", "tensorboard"};
  c.resolved["checkpoint"] = json_of_options(checkpoint_fields(c));
  if (root.contains("name")) c.resolved["name"] = root["name"];
  return c;
}

RunConfig read_run_config_file(const std::string& file, const std::vector<std::string>& sets) {
  json root = read_json_file(file);
  if (root.is_object() && root.contains("base") && root.contains("variants"))
    throw UsageError(file + ": is a comparison, not one run; allowed: scalevec compare " + file + " --out DIR");
  for (const std::string& assignment : sets) apply_set(root, assignment);
  return naming_file(file, [&] { return read_run_config(root); });
}

}  // namespace scalevec::experiments
