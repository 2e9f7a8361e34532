#include <algorithm>
#include <cmath>

#include "tests/distributed/launched.hpp"
#include "tests/support/catch.hpp"

// The program in several processes against the same run in one.
using namespace launched;
using nlohmann::json;

namespace {

// Muon on the matrices, AdamW on the rest, clipping on: 0.2 M parameters.
fs::path write_config(const fs::path& folder) {
  std::ofstream(folder / "config.json") << R"({
    "model": {"vocab_size": 64, "width": 48, "layers": 2, "heads": 2, "qk_norm": true},
    "data": {"synthetic": {"validation_windows": 10}}, "sequence_length": 16, "batch_size": 8, "steps": 200, "threads": 1,
    "optimizer": {"lr": 2e-3, "max_norm": 0.5, "rules": [
      {"match": {"kind": ["embedding", "unembedding", "router"]}, "weight_decay": 0.1},
      {"match": {"kind": "matrix"}, "method": "muon", "lr_mult": 5, "weight_decay": 0.1, "precision": "auto"},
      {"match": {"kind": "scale"}, "weight_decay": 0.1, "decay_target": 1}]},
    "schedule": {"shape": "cosine", "warmup_steps": 10}, "log": {"every": 1, "traces_every": 20},
    "validation": {"every": 100, "batches": 1}, "checkpoint": {"every": 100}})";
  return folder / "config.json";
}

std::vector<std::string> train(const fs::path& config, const fs::path& out, const std::vector<std::string>& more = {},
                               const std::string& timeout = "20") {
  std::vector<std::string> args{"train", config, "--out", out, "--rank-timeout", timeout};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

// The largest difference of the losses, over lines that must match in kind and step.
double loss_difference(const fs::path& a, const fs::path& b) {
  const auto left = json_lines(a / "metrics.jsonl"), right = json_lines(b / "metrics.jsonl");
  REQUIRE(!left.empty());
  REQUIRE(left.size() == right.size());
  double out = 0.0;
  for (size_t i = 0; i < left.size(); ++i) {
    REQUIRE(left[i]["kind"] == right[i]["kind"]);
    REQUIRE(left[i]["step"] == right[i]["step"]);
    out = std::max(out, std::abs(left[i]["loss"].get<double>() - right[i]["loss"].get<double>()));
  }
  return out;
}

// The largest |a − b|/(10⁻³ + |a|) of any trace, with its name.
std::pair<double, std::string> trace_difference(const fs::path& a, const fs::path& b) {
  const auto left = json_lines(a / "traces.jsonl"), right = json_lines(b / "traces.jsonl");
  REQUIRE(!left.empty());
  REQUIRE(left.size() == right.size());
  std::pair<double, std::string> worst{0.0, ""};
  for (size_t i = 0; i < left.size(); ++i)
    for (const char* table : {"params", "groups"}) {
      REQUIRE(left[i][table].size() == right[i][table].size());
      for (size_t row = 0; row < left[i][table].size(); ++row) {
        const json &x = left[i][table][row], &y = right[i][table][row];
        REQUIRE(x.size() == y.size());
        for (const auto& [key, value] : x.items()) {
          REQUIRE(y.contains(key));
          if (!value.is_number()) continue;
          const double u = value, v = y[key];
          const double difference = std::abs(u - v) / (1e-3 + std::abs(u));
          if (difference > worst.first)
            worst = {difference, key + " of " + x["name"].get<std::string>() + " at step " + left[i]["step"].dump()};
        }
      }
    }
  return worst;
}

}  // namespace

#if defined(SCALEVEC_HAS_GLOO)

TEST_CASE("one, two and four processes train the same run, and each resumes what another wrote") {
  const Folder folder("scalevec-ranks");
  const fs::path config = write_config(folder.path), one = folder.path / "one";
  REQUIRE(finish(start_program(folder.path / "one-process", train(config, one), {})) == 0);
  for (const int size : {2, 4}) {
    INFO(size << " processes");
    const fs::path out = folder.path / std::to_string(size);
    Ranks ranks(folder.path, size, train(config, out));
    REQUIRE(ranks.finish() == std::vector<int>(static_cast<size_t>(size), 0));
    CHECK(loss_difference(one, out) < 1e-5);
    const auto [difference, where] = trace_difference(one, out);
    INFO(where);
    CHECK(difference < 1e-3);
    // Rank 0 alone reports.
    CHECK(ranks.output(0).find("done: validation loss") != std::string::npos);
    for (int rank = 1; rank < size; ++rank) CHECK(ranks.output(rank).empty());
    for (int rank = 0; rank < size; ++rank) CHECK(ranks.errors(rank).empty());
    CHECK(json::parse(content(out / "summary.json"))["processes"] == size);
  }

  // From step 100 of two processes in one and in four, and of one process in two.
  for (const auto& [from, size] : {std::pair("2", 1), std::pair("2", 4), std::pair("one", 2)}) {
    INFO("written by " << from << ", resumed by " << size);
    const fs::path out = folder.path / (std::string(from) + "-" + std::to_string(size));
    fs::copy(folder.path / from, out, fs::copy_options::recursive);
    fs::remove_all(out / "checkpoints/step-00000200");
    fs::remove(out / "summary.json");
    if (size == 1) {
      REQUIRE(finish(start_program(folder.path / "resumed", train(config, out, {"--resume"}), {})) == 0);
    } else {
      Ranks ranks(folder.path, size, train(config, out, {"--resume"}));
      REQUIRE(ranks.finish() == std::vector<int>(static_cast<size_t>(size), 0));
      CHECK(ranks.output(0).find("resumed after step 100") != std::string::npos);
    }
    CHECK(loss_difference(one, out) < 1e-5);
  }
}

TEST_CASE("a mixture of experts counts its load over every process's part of the batch") {
  const Folder folder("scalevec-ranks-moe");
  const fs::path config = write_config(folder.path);
  const std::vector<std::string> moe{
      "--set", "steps=30",
      "--set", "checkpoint.every=0",
      "--set", "accumulation=2",
      "--set", "model.moe={\"experts\": 4, \"top_k\": 2, \"balance_loss\": 0.05, \"balance_bias_rate\": 0.01}"};
  REQUIRE(finish(start_program(folder.path / "one-process", train(config, folder.path / "one", moe), {})) == 0);
  Ranks ranks(folder.path, 2, train(config, folder.path / "two", moe));
  REQUIRE(ranks.finish() == std::vector<int>{0, 0});
  CHECK(loss_difference(folder.path / "one", folder.path / "two") < 1e-5);
}

TEST_CASE("attention logits are clipped by the largest of every process's part of the batch") {
  const Folder folder("scalevec-ranks-logits");
  const fs::path config = write_config(folder.path), one = folder.path / "one", two = folder.path / "two";
  const std::vector<std::string> clip{"--set", "steps=20",
                                      "--set", "checkpoint.every=0",
                                      "--set", "accumulation=2",
                                      "--set", "dtype=float64",
                                      "--set", "model.qk_norm=false",
                                      "--set", "model.init_std=0.4",
                                      "--set", "log.traces_every=4",
                                      "--set", R"(optimizer.rules=[{"match": {}},
        {"match": {"kind": "matrix"}, "method": "muon", "lr_mult": 5, "precision": "auto", "qk_clip": 3}])"};
  REQUIRE(finish(start_program(folder.path / "one-process", train(config, one, clip), {})) == 0);
  Ranks ranks(folder.path, 2, train(config, two, clip));
  REQUIRE(ranks.finish() == std::vector<int>{0, 0});
  // Of the rounding of float64, grown over 20 steps; the parts' largest logits differ by some tenths.
  CHECK(loss_difference(one, two) < 1e-9);
  const auto [difference, where] = trace_difference(one, two);
  INFO(where);
  CHECK(difference < 1e-6);
  double most = 0.0;
  const json first = json_lines(one / "traces.jsonl").front();
  for (const json& row : first["params"]) most = std::max(most, row.value("max_logit", 0.0));
  CHECK(most > 3.0);
}

TEST_CASE("sums over a group, estimates of curvature and average weights are those of one process") {
  const Folder folder("scalevec-ranks-sums");
  const fs::path config = write_config(folder.path);
  const std::vector<std::string> rules{
      "--set", "steps=24",       "--set", "checkpoint.every=12",     "--set", "validation.every=12",
      "--set", "accumulation=2", "--set", "schedule.shape=constant", "--set", R"(optimizer.rules=[
        {"match": {"kind": ["embedding", "unembedding"]}, "method": "sophia", "hessian_every": 4, "weight_decay": 0.1},
        {"match": {"kind": "matrix"}, "method": "prodigy", "lr_mult": 500, "d0": 1e-4, "safeguard_warmup": true},
        {"match": {"kind": "matrix", "site": "ffn.*"}, "method": "mars_adamw"},
        {"match": {"kind": "scale"}, "method": "schedulefree_adamw"}])"};
  const fs::path one = folder.path / "one", two = folder.path / "two";
  REQUIRE(finish(start_program(folder.path / "one-process", train(config, one, rules), {})) == 0);
  Ranks ranks(folder.path, 2, train(config, two, rules));
  REQUIRE(ranks.finish() == std::vector<int>{0, 0});
  CHECK(loss_difference(one, two) < 1e-5);
  // And on from the other's checkpoint.
  fs::remove_all(two / "checkpoints/step-00000024");
  fs::remove(two / "summary.json");
  std::vector<std::string> resume = rules;
  resume.push_back("--resume");
  REQUIRE(finish(start_program(folder.path / "resumed", train(config, two, resume), {})) == 0);
  CHECK(loss_difference(one, two) < 1e-5);
  CHECK(fs::exists(two / "checkpoints/step-00000024/average.safetensors"));
}

TEST_CASE("killed or stopped, a rank ends the others within the timeout by a line that names it, and the run resumes") {
  const Folder folder("scalevec-lost-rank");
  const fs::path config = write_config(folder.path), whole = folder.path / "whole";
  const std::vector<std::string> often{"--set", "checkpoint.every=10"};
  {
    Ranks ranks(folder.path, 2, train(config, whole, often));
    REQUIRE(ranks.finish() == std::vector<int>{0, 0});
  }
  struct Loss {
    int rank, signal;
    const char* word;
  };
  for (const Loss& loss :
       {Loss{1, SIGKILL, "died"}, Loss{0, SIGKILL, "died"}, Loss{1, SIGSTOP, "hangs"}, Loss{0, SIGSTOP, "hangs"}}) {
    INFO("rank " << loss.rank << " " << loss.word);
    const fs::path out = folder.path / (std::to_string(loss.rank) + loss.word);
    Ranks ranks(folder.path, 2, train(config, out, often, "4"));
    REQUIRE(wait_until([&] { return fs::exists(out / "checkpoints/step-00000010"); }));
    const pid_t lost = ranks.pids[static_cast<size_t>(loss.rank)],
                other = ranks.pids[static_cast<size_t>(1 - loss.rank)];
    ::kill(lost, loss.signal);
    CHECK(finish(other) == 1);
    const std::string errors = ranks.errors(1 - loss.rank);
    INFO(errors);
    CHECK(errors.find("scalevec: rank " + std::to_string(loss.rank) + " (process " + std::to_string(lost) + " on ") ==
          0);
    CHECK(errors.find(loss.word) != std::string::npos);
    CHECK(std::count(errors.begin(), errors.end(), '\n') == 1);
    ::kill(lost, SIGKILL);
    finish(lost);
    if (loss.signal == SIGSTOP && loss.rank == 0) continue;

    std::vector<std::string> resumed = often;
    resumed.push_back("--resume");
    Ranks again(folder.path, 2, train(config, out, resumed));
    REQUIRE(again.finish() == std::vector<int>{0, 0});
    CHECK(loss_difference(whole, out) == 0.0);
    for (const char* file : {"weights.safetensors", "optimizer.safetensors"})
      CHECK(content(whole / "checkpoints/step-00000200" / file) == content(out / "checkpoints/step-00000200" / file));
  }
}

TEST_CASE("a rank 0 that is stopped before it answers ends the others within the timeout") {
  const Folder folder("scalevec-silent-rank");
  const fs::path config = write_config(folder.path), out = folder.path / "out";
  // The kernel accepts connections for a process that is stopped.
  const int silent = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  REQUIRE(::bind(silent, reinterpret_cast<sockaddr*>(&address), length) == 0);
  REQUIRE(::listen(silent, 8) == 0);
  ::getsockname(silent, reinterpret_cast<sockaddr*>(&address), &length);
  const pid_t other = start_program(folder.path / "other", train(config, out, {}, "3"),
                                    {{"RANK", "1"},
                                     {"WORLD_SIZE", "2"},
                                     {"LOCAL_RANK", "1"},
                                     {"LOCAL_WORLD_SIZE", "2"},
                                     {"MASTER_ADDR", "127.0.0.1"},
                                     {"MASTER_PORT", std::to_string(ntohs(address.sin_port))}});
  int status = 0;
  const bool ended = wait_until([&] { return ::waitpid(other, &status, WNOHANG) == other; });
  if (!ended) ::kill(other, SIGKILL);
  ::close(silent);
  REQUIRE(ended);
  CHECK(WEXITSTATUS(status) == 1);
  const std::string errors = content(folder.path / "other.err");
  INFO(errors);
  CHECK(errors.find("scalevec: rank 1 cannot reach rank 0 at 127.0.0.1 port ") == 0);
  CHECK(std::count(errors.begin(), errors.end(), '\n') == 1);
}

TEST_CASE("SIGTERM to one rank stops all of them after the same step, with a checkpoint") {
  const Folder folder("scalevec-stopped-ranks");
  const fs::path config = write_config(folder.path), out = folder.path / "out";
  Ranks ranks(folder.path, 2, train(config, out, {"--set", "steps=1000000"}));
  REQUIRE(wait_until([&] { return fs::exists(out / "checkpoints/step-00000100"); }));
  ::kill(ranks.pids[1], SIGTERM);
  CHECK(ranks.finish() == std::vector<int>{143, 143});
  CHECK(json::parse(content(out / "summary.json"))["status"] == "interrupted");
}

TEST_CASE("what several processes cannot do is said in one line with status 2") {
  const Folder folder("scalevec-wrong-ranks");
  const fs::path config = write_config(folder.path), out = folder.path / "out";
  Ranks ranks(folder.path, 2, train(config, out, {"--set", "batch_size=9"}));
  CHECK(ranks.finish() == std::vector<int>{2, 2});
  CHECK(ranks.errors(0).find("batch_size: got 9 for 2 processes") != std::string::npos);
  CHECK(finish(start_program(folder.path / "alone", train(config, out), {{"RANK", "0"}})) == 2);
  CHECK(content(folder.path / "alone.err") ==
        "scalevec: environment: RANK is set and WORLD_SIZE is not; allowed: both, or neither for one process\n");
  // A folder that only rank 0 looks at: its line says why, and the other ends too.
  fs::create_directories(out);
  std::ofstream(out / "config.json") << "{}";
  Ranks refused(folder.path, 2, train(config, out));
  const std::vector<int> status = refused.finish();
  CHECK(status[0] == 2);
  CHECK(status[1] == 1);
  CHECK(refused.errors(0).find("another configuration") != std::string::npos);
  // Two configurations: neither trains.
  const std::string meeting = std::to_string(free_port());
  std::vector<pid_t> two;
  for (const std::string rank : {"0", "1"})
    two.push_back(start_program(
        folder.path / ("apart" + rank), train(config, folder.path / "apart", {"--set", "optimizer.lr=1e-" + rank}),
        {{"RANK", rank}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", meeting}}));
  for (const pid_t pid : two) CHECK(finish(pid) == 2);
  for (const char* rank : {"apart0.err", "apart1.err"})
    CHECK(content(folder.path / rank) ==
          "scalevec: rank 1 was given another configuration or other data than rank 0; allowed: the same\n");
  CHECK(!fs::exists(folder.path / "apart"));
  // The same configuration over shards of other tokens.
  const auto shards_of = [&](const std::string& name, std::uint16_t token) {
    fs::create_directories(folder.path / name);
    for (const char* file : {"train.bin", "val.bin"}) {
      std::int32_t header[256] = {20240520, 1, 2000};
      const std::vector<std::uint16_t> tokens(2000, token);
      std::ofstream out(folder.path / name / file, std::ios::binary);
      out.write(reinterpret_cast<const char*>(header), sizeof header);
      out.write(reinterpret_cast<const char*>(tokens.data()), 4000);
    }
    json root = json::parse(content(config));
    root["data"] = {{"dir", folder.path / name}};
    std::ofstream(folder.path / (name + ".json")) << root;
    return folder.path / (name + ".json");
  };
  const std::string data_port = std::to_string(free_port());
  two.clear();
  for (const std::string rank : {"0", "1"})
    two.push_back(start_program(
        folder.path / ("data" + rank), train(shards_of("shards" + rank, rank == "0" ? 3 : 4), folder.path / "apart"),
        {{"RANK", rank}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", data_port}}));
  for (const pid_t pid : two) CHECK(finish(pid) == 2);
  for (const char* rank : {"data0.err", "data1.err"})
    CHECK(content(folder.path / rank) == "scalevec: rank 1 has other data than rank 0; allowed: the same tokens\n");
  CHECK(!fs::exists(folder.path / "apart"));
  // One that nobody joins.
  const std::string port = std::to_string(free_port());
  CHECK(finish(start_program(
            folder.path / "lonely", {"train", config, "--out", folder.path / "lonely", "--rank-timeout", "2"},
            {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", port}})) == 1);
  CHECK(content(folder.path / "lonely.err")
            .find("of 2 ranks, 1 did not come to 127.0.0.1 port " + port + " within 2 s") != std::string::npos);
}

#else

TEST_CASE("a build without Gloo says so in one line") {
  const Folder folder("scalevec-no-gloo");
  const fs::path config = write_config(folder.path);
  CHECK(finish(start_program(folder.path / "alone", train(config, folder.path / "out"),
                             {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}})) == 2);
  CHECK(content(folder.path / "alone.err").find("scalevec: this build has no Gloo") == 0);
}

#endif
