#include "experiments/train/run_config.hpp"

#include <algorithm>

#include "experiments/data/validation_windows.hpp"
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
  o.vocab_size = in.integer("vocab_size", config.decoder->vocab_size, Range::between(2, 65536));
  o.zipf_exponent = in.number("zipf_exponent", o.zipf_exponent);
  o.branching = in.integer("branching", o.branching);
  o.mixing = in.number("mixing", o.mixing);
  o.seed = static_cast<std::uint64_t>(in.integer("seed", 0, kSeed));
  o.validation_windows = in.integer("validation_windows", o.validation_windows, kPositiveCount);
  in.finish();
  const std::string error = o.error();
  if (!error.empty()) throw ConfigError("data.synthetic: " + error);
  config.synthetic = o;
  config.resolved["data"]["synthetic"] = {{"vocab_size", o.vocab_size},
                                          {"zipf_exponent", o.zipf_exponent},
                                          {"branching", o.branching},
                                          {"mixing", o.mixing},
                                          {"seed", o.seed},
                                          {"validation_windows", o.validation_windows}};
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
  s.shape = *parse_schedule_shape(in.choice("shape", "constant", {"constant", "cosine", "linear", "wsd"}));
  s.warmup_steps = in.integer("warmup_steps", 0, kCount);
  s.total_steps = in.integer("total_steps", config.steps, kPositiveCount);
  s.final_factor = in.number("final_factor", 0.0, Range::between(0, 1));
  s.decay_steps = in.integer("decay_steps", 0, kCount);
  s.decay_shape = *parse_decay_shape(in.choice("decay_shape", "linear", {"linear", "cosine", "sqrt"}));
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
  config.resolved["schedule"] = {{"shape", to_string(s.shape)},  {"warmup_steps", s.warmup_steps},
                                 {"total_steps", s.total_steps}, {"final_factor", s.final_factor},
                                 {"decay_steps", s.decay_steps}, {"decay_shape", to_string(s.decay_shape)}};
}

// {"every", "traces_every", "snr", "formats"}, or the formats alone.
void read_log(JsonReader& in, const json& root, RunConfig& config) {
  const bool list = root.is_object() && root.contains("log") && root["log"].is_array();
  const json wrapped = list ? json{{"formats", in.value("log")}} : json::object();
  JsonReader log = list ? JsonReader(wrapped, "log") : in.object("log");
  config.log_every = log.integer("every", 10, kPositiveCount);
  config.traces_every = log.integer("traces_every", 10, kCount);
  config.snr = log.boolean("snr", false);
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

RunConfig read_run_config(const json& root) {
  JsonReader in(root, "");
  in.expect({"name", "seed", "data_seed", "threads", "device", "steps", "model", "dtype", "autocast", "batch_size",
             "accumulation", "sequence_length", "data", "optimizer", "schedule", "validation", "log", "checkpoint"});
  RunConfig c;
  c.seed = static_cast<std::uint64_t>(in.integer("seed", 1, kSeed));
  c.data_seed = static_cast<std::uint64_t>(in.integer("data_seed", static_cast<std::int64_t>(c.seed), kSeed));
  c.threads = static_cast<int>(in.integer("threads", 0, Range::between(0, 1024)));
  c.device = in.choice("device", "auto", {"auto", "cpu", "cuda"});
  c.steps = in.integer("steps", kPositiveCount);
  read_model(in.object("model"), root.contains("model") ? root["model"] : json::object(), c);
  if (c.from && c.from->go_on && c.from->step >= c.steps)
    in.fail("steps", "more than " + std::to_string(c.from->step) + ", the step that the model goes on from");
  const bool toy = !c.decoder;
  c.dtype = in.choice("dtype", toy ? "float64" : "float32", {"float32", "float64"});
  c.autocast = in.choice("autocast", "none", {"none", "bfloat16"});
  c.batch_size = in.integer("batch_size", toy ? 1 : kDefaultBatchSize, Range::between(1, 1 << 20));
  c.accumulation = in.integer("accumulation", 1, kPositiveCount);
  c.sequence_length = in.integer("sequence_length", kDefaultSequenceLength, Range::between(1, 1 << 20));
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
  c.validation_every = validation.integer("every", 0, kCount);
  if (validation.has("batches") && validation.has("sequences"))
    validation.fail("batches", "either sequences, or batches (of batch_size sequences), not both");
  c.validation_length = validation.integer("sequence_length", c.sequence_length, Range::between(1, 1 << 20));
  c.validation_sequences = validation.has("batches")
                               ? c.batch_size * validation.integer("batches", Range::between(1, 1 << 30))
                               : validation.integer("sequences", kDefaultValidationSequences, kPositiveCount);
  validation.finish();
  read_log(in, root, c);
  JsonReader checkpoint = in.object("checkpoint");
  c.checkpoint_every = checkpoint.integer("every", 0, kCount);
  c.checkpoint_minutes = checkpoint.number("minutes", c.checkpoint_minutes, Range::between(0, 1e6));
  c.checkpoint_keep = checkpoint.integer("keep", 2, kPositiveCount);
  checkpoint.finish();
  in.string("name", "");

  c.resolved["seed"] = c.seed;
  c.resolved["data_seed"] = c.data_seed;
  c.resolved["threads"] = c.threads;
  c.resolved["device"] = c.device;
  c.resolved["dtype"] = c.dtype;
  if (c.autocast != "none") c.resolved["autocast"] = c.autocast;
  c.resolved["steps"] = c.steps;
  c.resolved["batch_size"] = c.batch_size;
  c.resolved["accumulation"] = c.accumulation;
  c.resolved["sequence_length"] = c.sequence_length;
  c.resolved["optimizer"] = c.optimizer;
  c.resolved["validation"] = {
      {"every", c.validation_every}, {"sequences", c.validation_sequences}, {"sequence_length", c.validation_length}};
  c.resolved["log"] = {{"every", c.log_every}, {"traces_every", c.traces_every}};
  // Only where it is asked for, so that runs from before there was a choice go on.
  if (c.snr) c.resolved["log"]["snr"] = true;
  if (c.tensorboard) c.resolved["log"]["formats"] = {"jsonl", "tensorboard"};
  c.resolved["checkpoint"] = {
      {"every", c.checkpoint_every}, {"minutes", c.checkpoint_minutes}, {"keep", c.checkpoint_keep}};
  if (root.contains("name")) c.resolved["name"] = root["name"];
  return c;
}

}  // namespace scalevec::experiments
