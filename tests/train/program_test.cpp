#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

// The program as a user runs it: exit statuses, messages, kills and resumes.
namespace {

namespace fs = std::filesystem;
using scalevec::content;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("scalevec-program-" + std::to_string(::getpid()));
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
    std::ofstream(path / "config.json") << R"({"model": {"vocab_size": 32, "width": 32, "layers": 2, "heads": 2},
      "data": {"synthetic": {"validation_windows": 8}}, "sequence_length": 32, "batch_size": 4, "steps": 40, "threads": 1,
      "optimizer": {"lr": 1e-2, "max_norm": 1, "rules": [{"match": {}, "weight_decay": 0.1}]},
      "schedule": {"shape": "cosine", "warmup_steps": 5}, "log": {"every": 1, "traces_every": 5},
      "validation": {"every": 10, "batches": 2}, "checkpoint": {"every": 7}})";
  }
  ~Folder() { fs::remove_all(path); }
};

pid_t start(const std::vector<std::string>& args, const fs::path& errors) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  std::vector<char*> argv{const_cast<char*>(SCALEVEC_PROGRAM)};
  for (const auto& a : args) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::close(1);
  ::open("/dev/null", O_WRONLY);
  ::close(2);
  ::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  ::execv(SCALEVEC_PROGRAM, argv.data());
  ::_exit(127);
}

int finish(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

size_t lines(const fs::path& file) {
  const std::string text = content(file);
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

// Returns false if the child ended before the log had so many lines.
bool wait_for_lines(pid_t child, const fs::path& file, size_t count) {
  for (int i = 0; i < 60'000; ++i) {
    if (lines(file) >= count) return true;
    if (::waitpid(child, nullptr, WNOHANG) == child) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

std::vector<nlohmann::json> without_times(const fs::path& file) {
  std::vector<nlohmann::json> out;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    out.push_back(nlohmann::json::parse(line));
    out.back().erase("seconds");
    out.back().erase("checksum");  // of the times, too
    out.back().erase("tokens_per_second");
  }
  return out;
}

}  // namespace

TEST_CASE("killed at random steps and resumed, a run ends bit for bit as an undisturbed one") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", config = folder.path / "config.json";
  REQUIRE(finish(start({"train", config, "--out", folder.path / "whole"}, errors)) == 0);
  const std::string weights = content(folder.path / "whole/checkpoints/step-00000040/weights.safetensors");
  const std::string state = content(folder.path / "whole/checkpoints/step-00000040/optimizer.safetensors");
  REQUIRE(!weights.empty());

  std::mt19937 random(20240520);
  for (int trial = 0; trial < 3; ++trial) {
    const fs::path out = folder.path / ("killed" + std::to_string(trial));
    for (int kills = 0; kills < 3; ++kills) {
      const pid_t child = start({"train", config, "--out", out, "--resume"}, errors);
      const size_t at = 1 + random() % 44;
      if (wait_for_lines(child, out / "metrics.jsonl", at)) {
        ::kill(child, SIGKILL);
        finish(child);
      }
      // What a crash of the machine may leave: a torn line, and a checkpoint half written.
      std::ofstream(out / "metrics.jsonl", std::ios::app) << "{\"step\": 3, \"lo";
      fs::create_directories(out / "checkpoints/.writing-step-00000099");
      std::ofstream(out / "checkpoints/.writing-step-00000099/weights.safetensors") << "torn";
    }
    fs::remove(out / "summary.json");
    REQUIRE(finish(start({"train", config, "--out", out, "--resume"}, errors)) == 0);
    CHECK(content(out / "checkpoints/step-00000040/weights.safetensors") == weights);
    CHECK(content(out / "checkpoints/step-00000040/optimizer.safetensors") == state);
    CHECK(without_times(out / "metrics.jsonl") == without_times(folder.path / "whole/metrics.jsonl"));
    CHECK(content(out / "traces.jsonl") == content(folder.path / "whole/traces.jsonl"));
    CHECK(std::distance(fs::directory_iterator(out / "checkpoints"), {}) == 2);
  }
}

TEST_CASE("a run with qk_clip clips, and resumed ends bit for bit as an undisturbed one") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", whole = folder.path / "whole", out = folder.path / "killed";
  std::vector<std::string> call{"train", folder.path / "config.json",
                                "--set", "model.init_std=0.3",
                                "--set", R"(optimizer.rules=[{"match": {}, "qk_clip": 2}])",
                                "--out"};
  call.push_back(whole);
  REQUIRE(finish(start(call, errors)) == 0);
  double first = 0.0, last = 0.0;
  for (const nlohmann::json& line : without_times(whole / "traces.jsonl"))
    for (const nlohmann::json& row : line["params"])
      if (row["name"] == "layers.0.attn.q.weight") (line["step"] == 1 ? first : last) = row.at("max_logit");
  CHECK(first > 4.0);
  CHECK(last < 4.0);
  call.back() = out;
  const pid_t child = start(call, errors);
  REQUIRE(wait_for_lines(child, out / "metrics.jsonl", 20));
  ::kill(child, SIGKILL);
  finish(child);
  call.push_back("--resume");
  REQUIRE(finish(start(call, errors)) == 0);
  for (const char* file : {"weights.safetensors", "optimizer.safetensors"})
    CHECK(content(out / "checkpoints/step-00000040" / file) == content(whole / "checkpoints/step-00000040" / file));
  CHECK(content(out / "traces.jsonl") == content(whole / "traces.jsonl"));
}

TEST_CASE("a run cut off before its first checkpoint, or between its last and its summary, is not validated twice") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", config = folder.path / "config.json", whole = folder.path / "whole";
  REQUIRE(finish(start({"train", config, "--out", whole}, errors)) == 0);
  const auto undisturbed = without_times(whole / "metrics.jsonl");
  const auto before = nlohmann::json::parse(content(whole / "summary.json"));
  fs::remove(whole / "summary.json");
  REQUIRE(finish(start({"train", config, "--out", whole, "--resume"}, errors)) == 0);
  CHECK(without_times(whole / "metrics.jsonl") == undisturbed);
  const auto after = nlohmann::json::parse(content(whole / "summary.json"));
  for (const char* key : {"val_loss", "best_val_loss", "train_loss", "steps"}) CHECK(after[key] == before[key]);

  const fs::path out = folder.path / "early";
  const pid_t child = start({"train", config, "--set", "checkpoint.every=0", "--out", out}, errors);
  REQUIRE(wait_for_lines(child, out / "metrics.jsonl", 3));
  ::kill(child, SIGKILL);
  finish(child);
  REQUIRE(finish(start({"train", config, "--set", "checkpoint.every=0", "--out", out, "--resume"}, errors)) == 0);
  CHECK(without_times(out / "metrics.jsonl") == undisturbed);
}

TEST_CASE("SIGINT and SIGTERM write a checkpoint and exit 130 and 143") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", config = folder.path / "config.json";
  for (const auto& [signal, status] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    const fs::path out = folder.path / std::to_string(status);
    const pid_t child = start({"train", config, "--set", "steps=100000", "--out", out}, errors);
    REQUIRE(wait_for_lines(child, out / "metrics.jsonl", 5));
    ::kill(child, signal);
    CHECK(finish(child) == status);
    CHECK(!fs::is_empty(out / "checkpoints"));
    CHECK(nlohmann::json::parse(content(out / "summary.json"))["status"] == "interrupted");
  }
}

TEST_CASE("wrong input ends with status 2, one line, and nothing written") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", out = folder.path / "out", config = folder.path / "config.json";
  const auto refused = [&](std::vector<std::string> args, const std::string& expected) {
    INFO(expected);
    args.push_back("--out");
    args.push_back(out);
    CHECK(finish(start(args, errors)) == 2);
    const std::string text = content(errors);
    CHECK(text.find(expected) != std::string::npos);
    CHECK(std::count(text.begin(), text.end(), '\n') == 1);
    CHECK(!fs::exists(out));
  };
  refused({"train", config, "--set", "stepz=3"}, "stepz: unknown key; did you mean \"steps\"?");
  refused({"train", config, "--set", "model.heads=5"}, "model.");
  refused({"train", config, "--set", "model.vocab_size=16", "--set", "data.synthetic.vocab_size=32"}, "16");
  refused({"train", config, "--set", "optimizer.rules.0.match.kind=matrix"},
          "no rule of the policy matches embed.weight");
  refused({"train", folder.path / "missing.json"}, "missing.json: cannot be read");
  std::ofstream(folder.path / "empty.json").flush();
  refused({"train", folder.path / "empty.json"}, "empty.json: is empty");
  refused({"train", config, "--set", "device=cuda"}, "cuda");
  refused({"train"}, "CONFIG");

  nlohmann::json with_folder = nlohmann::json::parse(content(config));
  with_folder["data"] = {{"dir", folder.path / "tokens"}};
  const fs::path other = folder.path / "folder.json";
  std::ofstream(other) << with_folder;
  refused({"train", other}, "tokens");
  fs::create_directories(folder.path / "tokens");
  std::ofstream(folder.path / "tokens/train_0.bin") << "not tokens";
  std::ofstream(folder.path / "tokens/val_0.bin") << "not tokens";
  refused({"train", other}, "train_0.bin");
}

TEST_CASE("an output folder of another configuration is refused and kept") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", config = folder.path / "config.json", out = folder.path / "out";
  REQUIRE(finish(start({"train", config, "--set", "steps=8", "--out", out}, errors)) == 0);
  const std::string before = content(out / "metrics.jsonl");
  CHECK(finish(start({"train", config, "--set", "steps=9", "--out", out, "--resume"}, errors)) == 2);
  CHECK(content(errors).find("steps (8 there, 9 here)") != std::string::npos);
  CHECK(finish(start({"train", config, "--set", "steps=8", "--out", out}, errors)) == 2);
  CHECK(content(errors).find("--resume") != std::string::npos);
  CHECK(finish(start({"train", config, "--set", "steps=8", "--out", out, "--resume"}, errors)) == 0);
  CHECK(content(out / "metrics.jsonl") == before);

  // Another run's summary does not make this one done, nor does its own where the log was cut.
  const fs::path other = folder.path / "other";
  REQUIRE(finish(start({"train", config, "--set", "steps=8", "--set", "seed=7", "--out", other}, errors)) == 0);
  fs::copy_file(out / "summary.json", other / "summary.json", fs::copy_options::overwrite_existing);
  CHECK(finish(start({"train", config, "--set", "steps=8", "--set", "seed=7", "--out", other, "--resume"}, errors)) ==
        1);
  CHECK(content(errors).find("metrics.jsonl: does not end where summary.json says") != std::string::npos);
  std::ofstream(out / "metrics.jsonl") << before.substr(0, before.rfind('\n', before.size() - 2) + 1);
  CHECK(finish(start({"train", config, "--set", "steps=8", "--out", out, "--resume"}, errors)) == 1);
  CHECK(content(errors).find("metrics.jsonl: does not end where summary.json says") != std::string::npos);
}

TEST_CASE("a resume takes the same data elsewhere and keys that change no result, and refuses other data") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", config = folder.path / "config.json", out = folder.path / "out";
  std::mt19937 random(7);
  std::string text;
  for (int i = 0; i < 40000; ++i) text += i % 64 == 63 ? '\n' : static_cast<char>('a' + random() % 26);
  std::ofstream(folder.path / "text.txt") << text;
  const fs::path data = folder.path / "tokens", moved = folder.path / "moved";
  REQUIRE(finish(start({"data", "prepare", "--text", folder.path / "text.txt", "--block", "1024", "--out", data,
                        "--val-fraction", "0.2"},
                       errors)) == 0);
  auto root = nlohmann::json::parse(content(config));
  root["model"]["vocab_size"] = 256;
  root["data"] = {{"dir", data}};
  root["checkpoint"]["keep"] = 4;
  std::ofstream(config) << root;
  REQUIRE(finish(start({"train", config, "--out", folder.path / "whole"}, errors)) == 0);

  REQUIRE(finish(start({"train", config, "--out", out}, errors)) == 0);
  // As if it had been killed after step 35.
  fs::remove(out / "summary.json");
  fs::remove_all(out / "checkpoints/step-00000040");
  const std::vector<std::string> resume{"train", config, "--out", out, "--resume"};
  const auto with = [&](std::vector<std::string> sets) {
    std::vector<std::string> call = resume;
    for (auto& s : sets) call.insert(call.end(), {"--set", s});
    return finish(start(call, errors));
  };
  const auto copy = [&](const fs::path& from, const fs::path& to) { fs::copy(from, to, fs::copy_options::recursive); };
  const fs::path stopped = folder.path / "stopped";
  copy(out, stopped);

  // Without a data.json every shard of the folder counts, so a copied one is other data.
  copy(data, moved);
  fs::remove(moved / "data.json");
  for (const auto& entry : fs::directory_iterator(moved))
    if (entry.path().filename().string().find("train") != std::string::npos) {
      fs::copy(entry.path(), moved / "train_999999.bin");
      break;
    }
  CHECK(with({"data.dir=" + moved.string()}) == 2);
  CHECK(content(errors).find("the data is not what the run was trained on") != std::string::npos);
  CHECK(with({"optimizer.lr=0.02"}) == 2);
  CHECK(content(errors).find("optimizer.lr (0.01 there, 0.02 here)") != std::string::npos);

  fs::remove(moved / "train_999999.bin");
  REQUIRE(with({"data.dir=" + moved.string(), "log.every=2", "checkpoint.every=3"}) == 0);
  const std::string weights = "checkpoints/step-00000040/weights.safetensors";
  CHECK(content(out / weights) == content(folder.path / "whole" / weights));
  const auto changes = nlohmann::json::parse(content(out / "summary.json")).at("changed_on_resume");
  REQUIRE(changes.size() == 3);
  CHECK(changes[0] == nlohmann::json{{"step", 35}, {"key", "checkpoint.every"}, {"from", 7}, {"to", 3}});
  CHECK(changes[1]["key"] == "data.dir");
  CHECK(changes[2] == nlohmann::json{{"step", 35}, {"key", "log.every"}, {"from", 1}, {"to", 2}});

  // Other kernels are said and noted. A machine that has the baseline's only goes on with the same.
  fs::remove_all(out);
  copy(stopped, out);
  ::setenv("SCALEVEC_ISA", "baseline", 1);
  REQUIRE(with({}) == 0);
  ::unsetenv("SCALEVEC_ISA");
  const auto kernels = nlohmann::json::parse(content(folder.path / "whole/summary.json"))["versions"]["kernels"];
  if (kernels != "baseline") {
    CHECK(content(errors).find("goes on with versions.kernels \"baseline\"") != std::string::npos);
    CHECK(nlohmann::json::parse(content(out / "summary.json")).at("changed_on_resume") ==
          nlohmann::json::array({{{"step", 35}, {"key", "versions.kernels"}, {"from", kernels}, {"to", "baseline"}}}));
  }

  // A flipped bit of the newest checkpoint: the one before is taken, and the run ends as it would have.
  fs::remove_all(out);
  copy(stopped, out);
  const fs::path hit = out / "checkpoints/step-00000035/optimizer.safetensors";
  std::string bytes = content(hit);
  bytes[bytes.size() / 2] ^= 4;
  std::ofstream(hit, std::ios::binary) << bytes;
  REQUIRE(with({}) == 0);
  CHECK(content(errors).find("its checksum is wrong") != std::string::npos);
  CHECK(fs::exists(out / "checkpoints/.damaged-step-00000035"));
  CHECK(content(out / weights) == content(folder.path / "whole" / weights));

  // Another checkpoint's file of the same name is whole in itself.
  fs::remove_all(out);
  copy(stopped, out);
  fs::copy_file(out / "checkpoints/step-00000028/optimizer.safetensors", hit, fs::copy_options::overwrite_existing);
  REQUIRE(with({}) == 0);
  CHECK(content(errors).find("not the file that was written here") != std::string::npos);
  CHECK(content(out / weights) == content(folder.path / "whole" / weights));

  // A list of other shards than those which were prepared, in a data.json without its checksum.
  const std::string prepared = content(data / "data.json");
  auto listed = nlohmann::json::parse(prepared);
  listed.erase("checksum");
  listed["val"]["files"] = listed["train"]["files"];
  listed["val"]["tokens"] = listed["train"]["tokens"];
  std::ofstream(data / "data.json") << listed;
  CHECK(finish(start({"train", config, "--out", folder.path / "new"}, errors)) == 2);
  CHECK(content(errors).find("is not that of the files that it lists") != std::string::npos);
  std::ofstream(data / "data.json") << prepared;

  // A shard that was damaged after it was prepared.
  for (const auto& entry : fs::directory_iterator(data))
    if (entry.path().extension() == ".bin") {
      std::string shard = content(entry.path());
      shard.back() ^= 1;
      std::ofstream(entry.path(), std::ios::binary) << shard;
    }
  CHECK(finish(start({"train", config, "--out", folder.path / "new"}, errors)) == 2);
  CHECK(content(errors).find("its SHA-256 is not the one in data.json") != std::string::npos);
}

TEST_CASE("a shard that is cut or changed while a run reads it ends the run with one line that names it") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", config = folder.path / "config.json", out = folder.path / "out";
  const fs::path data = folder.path / "tokens", shard = data / "train.bin";
  fs::create_directories(data);
  const auto write_shard = [](const fs::path& file, std::int32_t count) {
    std::vector<std::int32_t> header{20240520, 1, count};
    header.resize(256);
    std::vector<std::uint16_t> tokens(static_cast<std::size_t>(count));
    std::mt19937 random(7);
    for (auto& t : tokens) t = static_cast<std::uint16_t>(random() % 32);
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(header.data()), 1024)
        .write(reinterpret_cast<const char*>(tokens.data()), 2 * count);
  };
  write_shard(data / "val.bin", 4000);
  auto root = nlohmann::json::parse(content(config));
  root["data"] = {{"dir", data}};
  root["checkpoint"]["every"] = 10;
  root["steps"] = 1'000'000;
  std::ofstream(config) << root;
  const auto trained_while = [&](const std::function<void()>& change, const std::string& steps) {
    fs::remove_all(out);
    write_shard(shard, 400'000);
    const pid_t child = start({"train", config, "--set", "steps=" + steps, "--out", out}, errors);
    for (int i = 0; i < 60'000 && !fs::exists(out / "checkpoints/step-00000010"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    change();
    return finish(child);
  };
  CHECK(trained_while([&] { fs::resize_file(shard, 8192); }, "1000000") == 1);
  CHECK(content(errors).find("train.bin: cannot be read at byte ") != std::string::npos);
  CHECK(lines(errors) == 1);
  CHECK(trained_while(
            [&] {
              std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
              file.seekp(5000);
              file.put('\x1f').put('\0');
            },
            "1000000") == 1);
  CHECK(content(errors).find("train.bin: was changed while the run read it") != std::string::npos);
  CHECK(lines(errors) == 1);
  // The same bytes written anew, and another file in its place, change nothing.
  CHECK(trained_while([&] { fs::last_write_time(shard, fs::file_time_type::clock::now()); }, "200") == 0);
  CHECK(trained_while([&] { write_shard(data / "new", 4000), fs::rename(data / "new", shard); }, "200") == 0);
}

TEST_CASE("counts whose products would overflow are refused by name") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", config = folder.path / "config.json";
  for (const std::string key : {"validation.batches", "validation.every", "checkpoint.keep", "checkpoint.every",
                                "data.synthetic.validation_windows", "schedule.warmup_steps", "schedule.decay_steps",
                                "log.every", "log.traces_every", "steps", "accumulation", "batch_size",
                                "sequence_length", "model.width", "model.mlp_width", "model.vocab_size"})
    for (const std::string value : {"9223372036854775807", "4611686018427387904", "1e18"}) {
      INFO(key << " " << value);
      CHECK(finish(start({"train", config, "--set", key + "=" + value, "--check"}, errors)) == 2);
      CHECK(content(errors).find(key.substr(key.rfind('.') + 1)) != std::string::npos);
    }
  CHECK(finish(start({"train", config, "--set", "steps=1000000000000", "--set", "batch_size=1048576", "--set",
                      "sequence_length=1048576", "--check"},
                     errors)) == 2);
  CHECK(content(errors).find("2^60 tokens") != std::string::npos);
  CHECK(finish(start({"train", config, "--set", "model.width=1073741824", "--check"}, errors)) == 2);
  CHECK(content(errors).find("2^50 parameters") != std::string::npos);
}

TEST_CASE("a run that diverges says at which step and parameter, in the record and with status 1") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", out = folder.path / "out";
  CHECK(finish(start({"train", folder.path / "config.json", "--set", "optimizer.lr=1e30", "--set",
                      "optimizer.max_norm=0", "--out", out},
                     errors)) == 1);
  const auto summary = nlohmann::json::parse(content(out / "summary.json"));
  CHECK(summary["status"] == "diverged");
  CHECK(summary["reason"].get<std::string>().find("step " + std::to_string(summary["diverged_at"].get<int>())) == 0);
  CHECK(!summary["parameter"].get<std::string>().empty());
}

TEST_CASE("a run that another process is at work on is left to it with status 75, and goes on undisturbed") {
  const Folder folder;
  const fs::path errors = folder.path / "errors", out = folder.path / "out", config = folder.path / "config.json";
  const std::vector<std::string> call{"train", config, "--set", "steps=1000000", "--out", out, "--resume"};
  const pid_t first = start(call, folder.path / "errors of the first");
  REQUIRE(wait_for_lines(first, out / "metrics.jsonl", 5));
  CHECK(finish(start(call, errors)) == 75);
  CHECK(content(errors).find("process " + std::to_string(first) + " on ") != std::string::npos);
  CHECK(wait_for_lines(first, out / "metrics.jsonl", lines(out / "metrics.jsonl") + 5));
  ::kill(first, SIGTERM);
  CHECK(finish(first) == 143);
  std::int64_t step = 0;
  for (const auto& line : without_times(out / "metrics.jsonl"))
    if (line["kind"] == "train") CHECK(line["step"].get<std::int64_t>() == ++step);
}
