#include "experiments/train/run_config.hpp"

#include <fstream>

#include "experiments/data/validation_windows.hpp"
#include "experiments/errors.hpp"
#include "experiments/system/staging_folder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;

namespace {

json sound() {
  return json::parse(R"({"model": {"vocab_size": 32, "width": 16, "layers": 1, "heads": 2},
    "data": {"synthetic": {}}, "sequence_length": 8, "batch_size": 4, "steps": 5,
    "optimizer": {"lr": 1e-3, "rules": [{"match": {}}]}})");
}

std::string error_with(const char* patch) {
  json root = sound();
  root.merge_patch(json::parse(patch));
  try {
    read_run_config(root);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a sound configuration reads, and its resolved form reads to itself") {
  const RunConfig config = read_run_config(sound());
  CHECK(config.data_seed == config.seed);
  CHECK(config.synthetic->vocab_size == 32);
  CHECK(config.schedule.total_steps == 5);
  const json again = read_run_config(json::parse(config.resolved.dump())).resolved;
  CHECK(json::parse(again.dump()) == json::parse(config.resolved.dump()));
}

TEST_CASE("wrong configurations are refused in one line with path, value and what is allowed") {
  CHECK(has(error_with(R"({"step": 3})"), "step: unknown key; did you mean \"steps\"?"));
  CHECK(has(error_with(R"({"steps": null, "stesp": 3})"), "stesp: unknown key; did you mean \"steps\"?"));
  CHECK(has(error_with(R"({"optimizer": null, "optimiser": {}})"),
            "optimiser: unknown key; did you mean \"optimizer\"?"));
  CHECK(has(error_with(R"({"model": {"widht": 3}})"), "model.widht: unknown key; did you mean \"width\"?"));
  CHECK(has(error_with(R"({"steps": "many"})"), "steps: got \"many\"; allowed: an integer"));
  CHECK(has(error_with(R"({"steps": 0})"), "steps: got 0; allowed: an integer, [1,"));
  CHECK(has(error_with(R"({"steps": 2.5})"), "steps: got 2.5; allowed: an integer"));
  CHECK(has(error_with(R"({"model": {"heads": 3}})"), "model."));
  CHECK(has(error_with(R"({"accumulation": 3})"), "accumulation: got 3; allowed: a divisor of batch_size, 4"));
  CHECK(has(error_with(R"({"data": {"dir": "x"}})"), "exactly one of"));
  CHECK(has(error_with(R"({"data": null})"), "data"));
  CHECK(has(error_with(R"({"device": "gpu"})"), "device: got \"gpu\"; allowed: auto, cpu, cuda"));
  CHECK(has(error_with(R"({"schedule": {"shape": "cosine", "warmup_steps": 9}})"), "schedule.warmup_steps"));
  CHECK(has(error_with(R"({"schedule": {"warmup_steps": 6}})"),
            "schedule.warmup_steps: got 6; allowed: at most total_steps, 5"));
  CHECK(error_with(R"({"schedule": {"warmup_steps": 6, "total_steps": 6}})").empty());
  CHECK(has(error_with(R"({"schedule": {"shape": "linear", "total_steps": 4}})"),
            "schedule.total_steps: got 4; allowed: at least steps, 5"));
  CHECK(has(error_with(R"({"validation": {"batches": 2, "sequences": 8}})"),
            "validation.batches: got 2; allowed: either"));
  CHECK(has(error_with(R"({"checkpoint": {"minutes": -1}})"), "checkpoint.minutes: got -1"));
  CHECK(has(error_with(R"({"seed": -1})"), "seed: got -1"));
  CHECK(has(error_with(R"({"autocast": "fp8"})"), "autocast: got \"fp8\"; allowed: none, bfloat16"));
  CHECK(has(error_with(R"({"autocast": "bfloat16", "dtype": "float64"})"), "none unless dtype is float32"));
  CHECK(has(error_with(R"({"optimizer": 3})"), "optimizer: got 3"));
  CHECK(has(error_with(R"({"data": {"synthetic": {"mixing": 2}}})"), "data.synthetic"));
}

TEST_CASE("a toy takes no data and runs in float64") {
  const auto toy = json::parse(
      R"({"model": {"type": "output_scale"}, "steps": 5, "optimizer": {"lr": 1, "rules": [{"match": {}}]}})");
  CHECK(read_run_config(toy).dtype == "float64");
  json with_data = toy;
  with_data["data"] = {{"dir", "x"}};
  CHECK_THROWS_AS(read_run_config(with_data), ConfigError);
  // What a toy has no use for is not taken without effect.
  for (const auto& [key, value] :
       {std::pair("batch_size", 4), std::pair("sequence_length", 16), std::pair("accumulation", 2)}) {
    json idle = toy;
    idle[key] = value;
    CHECK_THROWS_AS(read_run_config(idle), ConfigError);
  }
  CHECK_NOTHROW(read_run_config(read_run_config(toy).resolved));
}

TEST_CASE("signal-to-noise ratios take a window of steps, and are no key of older runs") {
  json root = sound();
  CHECK(!read_run_config(root).resolved["log"].contains("snr"));
  root["log"] = {{"traces_every", 5}, {"snr", true}};
  CHECK(read_run_config(root).snr);
  CHECK(read_run_config(read_run_config(root).resolved).snr);
  CHECK(has(error_with(R"({"log": {"traces_every": 4, "snr": true}})"),
            "log.snr: got true; allowed: false unless traces_every is 5 or more"));
}

TEST_CASE("log formats: a list alone or beside the intervals; the JSONL logs always") {
  json root = sound();
  CHECK(!read_run_config(root).tensorboard);
  CHECK(!read_run_config(root).resolved["log"].contains("formats"));
  root["log"] = {"jsonl", "tensorboard"};
  CHECK(read_run_config(root).tensorboard);
  CHECK(read_run_config(root).log_every == 10);
  CHECK(read_run_config(json::parse(read_run_config(root).resolved.dump())).resolved == read_run_config(root).resolved);
  root["log"] = {{"every", 3}, {"formats", {"tensorboard", "jsonl"}}};
  CHECK(read_run_config(root).tensorboard);
  CHECK(read_run_config(root).log_every == 3);
  for (const char* wrong :
       {R"({"log": ["tensorboard"]})", R"({"log": []})", R"({"log": {"formats": ["jsonl", "wandb"]}})"})
    CHECK(has(error_with(wrong), "log.formats: got ["));
  CHECK(has(error_with(R"({"log": {"evry": 1}})"), "log.evry: unknown key; did you mean \"every\"?"));
}

TEST_CASE("what a run is validated on reads as a comparison takes it") {
  for (const char* change : {R"({})", R"({"batch_size": 8, "accumulation": 1})", R"({"validation": {"batches": 3}})",
                             R"({"validation": {"sequences": 7}})", R"({"sequence_length": 20})",
                             R"({"sequence_length": 20, "validation": {"sequence_length": 9}})"}) {
    json root = sound();
    root.merge_patch(json::parse(change));
    const RunConfig config = read_run_config(root);
    const ValidationWindows windows = validation_windows(root);
    CHECK(windows.sequences == config.validation_sequences);
    CHECK(windows.length == config.validation_length);
    CHECK(validation_windows(json::parse(config.resolved.dump())).words() == windows.words());
  }
}

TEST_CASE("JSON with a zero byte is refused, where the parser would leave the rest unread") {
  for (const std::string& text :
       {std::string("{\"a\": 1}\0 more", 14), std::string("{\"a\"\0: 1}", 9), std::string(1, '\0')}) {
    CHECK(parse_json_if_sound(text).is_discarded());
    CHECK_THROWS_AS(parse_json(text, "file"), ConfigError);
  }
  CHECK(parse_json_if_sound("{\"a\": \"\\u0000\"}")["a"] == std::string(1, '\0'));
}

TEST_CASE("an empty file is said to be empty; a missing file and a folder are called so") {
  const TemporaryFolder folder(std::filesystem::temp_directory_path() / "scalevec-json-XXXXXX");
  const auto refusal = [](const std::string& file) { return message_of([&] { read_json_file(file); }); };
  const std::string file = (folder.path() / "config.json").string(), folder_name = folder.path().string();
  CHECK(refusal(file) == file + ": cannot be read: No such file or directory");
  CHECK(refusal(folder_name) == folder_name + ": is a folder; allowed: a JSON file");
  for (const char* text : {"", "\n", " \t\r\n"}) {
    std::ofstream(file) << text;
    CHECK(refusal(file) == file + ": is empty; allowed: JSON (write it again, or take a copy of it)");
  }
  std::ofstream(file) << "{\"a\": 1}";
  CHECK(read_json_file(file) == json::parse(R"({"a": 1})"));
}
