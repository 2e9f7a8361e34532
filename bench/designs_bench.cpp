// What a scale design costs: whole training steps (forward, backward, clipped AdamW) of a decoder with it against the
// same decoder with one γ per norm, in turns; the bytes that the forward pass keeps for the backward; and the peak
// resident memory of a process that trains it alone. `scripts/bench.sh designs` prints the tables; usage() says what
// else there is.
#include <ATen/Parallel.h>
#include <malloc.h>
#include <sys/resource.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/paired.hpp"
#include "bench/saved_tensors.hpp"
#include "models/autocast.hpp"
#include "models/decoder.hpp"
#include "models/options_json.hpp"
#include "optim/role_policy.hpp"

namespace {

using namespace scalevec;

struct Case {
  std::string name, scales, execution;
  bool bf16 = false;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{{"baseline", "plain", "naive"},   {"baseline folded", "plain", "folded"},
                                     {"HG", "hg", "folded"},           {"OR", "or", "folded"},
                                     {"DP", "dp", "folded"},           {"DNP", "dnp", "folded"},
                                     {"unified", "unified", "folded"}, {"HG naive", "hg", "naive"},
                                     {"DP naive", "dp", "naive"},      {"unified naive", "unified", "naive"}};
  return all;
}

int usage() {
  std::fputs(
      "usage: bench_designs [--rounds N] [--width 512|768] [--bf16] [--folded]   the table of costs\n"
      "       bench_designs --peak INDEX --width W                               peak resident memory of one case\n"
      "       bench_designs --census INDEX                                       what its forward pass saves\n"
      "       bench_designs --crossover [--rounds N]                             folded/naive by width and tokens\n",
      stderr);
  return 2;
}

struct Trained {
  std::unique_ptr<models::Decoder> model;
  std::unique_ptr<Optimizer> optimizer;
  bool bf16;

  Trained(const Case& c, int width, int layers) : bf16(c.bf16) {
    const std::string text = R"({"vocab_size": 4096, "width": )" + std::to_string(width) + R"(, "layers": )" +
                             std::to_string(layers) + R"(, "heads": )" + std::to_string(std::max(1, width / 64)) +
                             R"(, "scales": ")" + c.scales + R"(", "execution": ")" + c.execution + "\"}";
    model = std::make_unique<models::Decoder>(models::decoder_options_from_json(text), 1);
    const auto params =
        named_params(*model, [&](const std::string& name, const torch::Tensor&) { return model->role(name); });
    optimizer = make_optimizer(params, RolePolicy::from_json(R"({"lr": 1e-4, "max_norm": 1.0, "rules": [
      {"match": {"kind": ["matrix", "embedding"]}, "weight_decay": 0.1}, {"match": {"kind": "scale"}}]})"));
  }

  torch::Tensor loss(const torch::Tensor& tokens) {
    const models::Autocast autocast(torch::kCPU, torch::kBFloat16, bf16);
    return model->loss(tokens, 0);
  }

  double step(const torch::Tensor& tokens, bool optimize = true) {
    const auto start = std::chrono::steady_clock::now();
    optimizer->zero_grad(/*set_to_none=*/false);
    loss(tokens).backward();
    if (optimize) optimizer->step();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
};

torch::Tensor random_tokens(std::int64_t sequences, std::int64_t length) {
  return torch::randint(0, 4096, {sequences, length + 1}, torch::kInt64);
}

// What lives on the heap because the graph of the loss does: activations, and whatever else its nodes hold on to.
double saved_bytes(Trained& trained, const torch::Tensor& tokens) {
  trained.loss(tokens).backward();
  const auto live = [] {
    const struct mallinfo2 info = mallinfo2();
    return static_cast<double>(info.uordblks + info.hblkhd);
  };
  const double before = live();
  torch::Tensor loss = trained.loss(tokens);
  const double held = live() - before;
  loss.reset();
  return held;
}

int layers_of(int width) { return width == 512 ? 4 : 6; }

int peak(const Case& c, int width) {
  Trained trained(c, width, layers_of(width));
  const torch::Tensor tokens = random_tokens(4, 512);
  for (int i = 0; i < 3; ++i) trained.step(tokens);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  std::printf("%.1f\n", static_cast<double>(usage.ru_maxrss) / 1024.0);
  return 0;
}

double peak_of_process(const std::string& self, std::size_t index, int width, bool bf16) {
  const std::string command =
      self + " --peak " + std::to_string(index) + " --width " + std::to_string(width) + (bf16 ? " --bf16" : "");
  FILE* pipe = popen(command.c_str(), "r");
  double mib = 0.0;
  if (pipe == nullptr || std::fscanf(pipe, "%lf", &mib) != 1) std::fprintf(stderr, "%s: no result\n", command.c_str());
  if (pipe != nullptr) pclose(pipe);
  return mib;
}

void table(const std::vector<std::size_t>& chosen, int width, int rounds, bool bf16, const std::string& self) {
  const torch::Tensor tokens = random_tokens(4, 512);
  std::vector<Trained> models;
  std::vector<double> bytes, peaks;
  for (const std::size_t i : chosen) peaks.push_back(peak_of_process(self, i, width, bf16));
  for (const std::size_t i : chosen) {
    Case c = cases()[i];
    c.bf16 = bf16;
    models.emplace_back(c, width, layers_of(width));
    bytes.push_back(saved_bytes(models.back(), tokens));
  }
  std::vector<std::vector<double>> ratios(models.size());
  std::vector<double> baseline;
  for (int round = -1; round < rounds; ++round) {
    std::vector<double> seconds(models.size());
    for (std::size_t k = 0; k < models.size(); ++k) {
      const std::size_t i = (k + static_cast<std::size_t>(round + 1)) % models.size();
      seconds[i] = models[i].step(tokens);
    }
    if (round < 0) continue;
    baseline.push_back(1e3 * seconds[0]);
    for (std::size_t i = 0; i < models.size(); ++i) ratios[i].push_back(seconds[i] / seconds[0]);
  }
  std::printf("\nwidth %d, %d layers, 4 x 512 tokens, %s, 2 threads, %d rounds; baseline %.1f ms\n\n", width,
              layers_of(width), bf16 ? "bfloat16 autocast" : "float32", rounds,
              bench::median_interval(baseline).middle);
  std::printf(
      "| design | execution | time / baseline [95 %%] | saved bytes / baseline | peak resident "
      "|\n|---|---|---|---|---|\n");
  for (std::size_t i = 0; i < models.size(); ++i) {
    const bench::Interval r = bench::median_interval(ratios[i]);
    std::printf("| %s | %s | %.3f [%.3f, %.3f] | %.3f (%.1f MiB) | %.0f MiB |\n", cases()[chosen[i]].name.c_str(),
                cases()[chosen[i]].execution.c_str(), r.middle, r.low, r.high, bytes[i] / bytes[0],
                bytes[i] / 1048576.0, peaks[i]);
  }
}

void census(const Case& c) {
  Trained trained(c, 512, 1);
  const torch::Tensor tokens = random_tokens(4, 512);
  const auto saved = bench::saved_tensors([&] { return trained.loss(tokens); });
  std::map<const void*, int> times;
  for (const auto& s : saved)
    if (s.tensor.defined()) ++times[s.storage()];
  double total = 0.0;
  std::printf(
      "one layer of width 512, 4 x 512 tokens, %s, %s execution\n\n| saved first by | shape | MiB | times saved "
      "|\n|---|---|---|---|\n",
      c.name.c_str(), c.execution.c_str());
  const auto kept = bench::distinct_storages(saved, trained.model->parameters());
  for (const auto& s : kept) {
    const double mib = static_cast<double>(s.storage_bytes()) / 1048576.0;
    total += mib;
    std::printf("| %s | %s | %.3f | %d |\n", s.op.c_str(), c10::str(s.tensor.sizes()).c_str(), mib, times[s.storage()]);
  }
  std::printf("\n%.1f MiB; storages with the same content: %zu\n", total, bench::saved_twice(kept, 1024).size());
}

// Where `auto` should fold: forward and backward of two layers.
void crossover(int rounds) {
  std::printf("| width | design |");
  const std::vector<std::int64_t> counts{64, 128, 256, 512, 1024, 2048, 4096};
  for (const std::int64_t n : counts) std::printf(" %lld tokens |", static_cast<long long>(n));
  std::printf("\n|---|---|");
  for (std::size_t i = 0; i < counts.size(); ++i) std::printf("---|");
  std::printf("\n");
  for (const int width : {128, 256, 512})
    for (const char* scales : {"hg", "dp", "dnp"}) {
      Trained naive({"", scales, "naive"}, width, 2), folded({"", scales, "folded"}, width, 2);
      std::printf("| %d | %s |", width, scales);
      for (const std::int64_t n : counts) {
        const torch::Tensor tokens = random_tokens(std::max<std::int64_t>(1, n / 256), std::min<std::int64_t>(n, 256));
        std::vector<double> ratios;
        for (int round = -2; round < rounds; ++round) {
          double a = 0.0, b = 0.0;
          if (round % 2 == 0) a = naive.step(tokens, false);
          b = folded.step(tokens, false);
          if (round % 2 != 0) a = naive.step(tokens, false);
          if (round >= 0) ratios.push_back(b / a);
        }
        const bench::Interval r = bench::median_interval(ratios);
        std::printf(" %.3f [%.3f, %.3f] |", r.middle, r.low, r.high);
      }
      std::printf("\n");
    }
}

}  // namespace

int main(int argc, char** argv) {
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  at::set_num_threads(2);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::map<std::string, std::string> options;
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    const bool flag = key == "--bf16" || key == "--folded" || key == "--crossover";
    if (!flag && key != "--rounds" && key != "--width" && key != "--peak" && key != "--census") return usage();
    if (!flag && i + 1 == argc) return usage();
    options[key] = flag ? "" : argv[++i];
  }
  const auto number = [&](const char* key, int fallback) {
    return options.contains(key) ? std::atoi(options[key].c_str()) : fallback;
  };
  const auto chosen_case = [&](const char* key) {
    Case c = cases().at(static_cast<std::size_t>(number(key, 0)));
    c.bf16 = options.contains("--bf16");
    return c;
  };
  const int rounds = std::max(8, number("--rounds", 16));  // the interval of the median needs eight
  if (options.contains("--peak")) return peak(chosen_case("--peak"), number("--width", 512));
  if (options.contains("--census")) {
    census(chosen_case("--census"));
    return 0;
  }
  if (options.contains("--crossover")) {
    crossover(rounds);
    return 0;
  }
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < cases().size(); ++i)
    if (!options.contains("--folded") || i == 0 || cases()[i].execution == "folded") chosen.push_back(i);
  for (const int width : {512, 768})
    if (!options.contains("--width") || number("--width", 0) == width)
      table(chosen, width, rounds, options.contains("--bf16"), argv[0]);
}
