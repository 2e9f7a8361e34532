// What a scale design costs: steps (forward and backward) of a decoder with it against the same decoder with one γ per
// norm, in turns, and the bytes that the forward pass saves for the backward. `scripts/bench.sh designs` prints the table.
#include <ATen/Parallel.h>
#include <malloc.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "scalevec/bench/paired.hpp"
#include "scalevec/models/decoder.hpp"
#include "scalevec/models/options_json.hpp"

namespace {

using namespace scalevec;

struct Case {
  const char* name;
  const char* scales;  // JSON
  const char* execution;
};
constexpr Case kCases[] = {{"baseline", "\"plain\"", "naive"},       {"baseline folded", "\"plain\"", "folded"},
                           {"HG", "\"hg\"", "folded"},               {"OR", "\"or\"", "folded"},
                           {"DP", "\"dp\"", "folded"},               {"DNP", "\"dnp\"", "folded"},
                           {"unified", "\"unified\"", "folded"},     {"HG naive", "\"hg\"", "naive"},
                           {"DP naive", "\"dp\"", "naive"},          {"unified naive", "\"unified\"", "naive"}};

Decoder make(const Case& c, int width, int layers) {
  const std::string text = R"({"vocab_size": 4096, "width": )" + std::to_string(width) + R"(, "layers": )" +
                           std::to_string(layers) + R"(, "heads": )" + std::to_string(width / 64) + R"(, "scales": )" +
                           c.scales + R"(, "execution": ")" + c.execution + "\"}";
  return Decoder(decoder_options_from_json(text), 1);
}

double step(Decoder& model, const torch::Tensor& tokens) {
  const auto start = std::chrono::steady_clock::now();
  model.zero_grad(false);
  model.loss(tokens, 0).backward();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double saved_bytes(Decoder& model, const torch::Tensor& tokens) {
  // What lives on the heap because the graph of the loss does: activations, and whatever else its nodes hold on to.
  model.loss(tokens, 0).backward();
  const auto live = [] {
    const struct mallinfo2 info = mallinfo2();
    return static_cast<double>(info.uordblks + info.hblkhd);
  };
  const double before = live();
  torch::Tensor loss = model.loss(tokens, 0);
  const double held = live() - before;
  loss.reset();
  return held;
}

}  // namespace

int main(int argc, char** argv) {
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  at::set_num_threads(2);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const int wanted = argc > 1 ? std::atoi(argv[1]) : 30;
  for (const auto& [width, layers] : {std::pair(512, 4), std::pair(768, 6)}) {
    const int rounds = width == 512 ? wanted : std::max(8, wanted / 2);  // the interval of the median needs eight
    const torch::Tensor tokens = torch::randint(0, 4096, {4, 513}, torch::kInt64);
    std::vector<Decoder> models;
    for (const Case& c : kCases) models.push_back(make(c, width, layers));
    std::vector<double> bytes;
    for (Decoder& model : models) bytes.push_back(saved_bytes(model, tokens));
    std::vector<std::vector<double>> ratios(models.size());
    double baseline_ms = 0.0;
    for (int round = -1; round < rounds; ++round) {
      std::vector<double> seconds(models.size());
      for (std::size_t k = 0; k < models.size(); ++k) {
        const std::size_t i = (k + static_cast<std::size_t>(round + 1)) % models.size();
        seconds[i] = step(models[i], tokens);
      }
      if (round < 0) continue;
      baseline_ms += 1e3 * seconds[0] / rounds;
      for (std::size_t i = 0; i < models.size(); ++i) ratios[i].push_back(seconds[i] / seconds[0]);
    }
    std::printf("\nwidth %d, %d layers, 4 x 512 tokens, 2 threads, %d rounds; baseline %.1f ms\n\n", width, layers, rounds,
                baseline_ms);
    std::printf("| design | execution | time / baseline [95 %%] | saved bytes / baseline |\n|---|---|---|---|\n");
    for (std::size_t i = 0; i < models.size(); ++i) {
      const bench::Interval r = bench::median_interval(ratios[i]);
      std::printf("| %s | %s | %.3f [%.3f, %.3f] | %.3f (%.1f MiB) |\n", kCases[i].name, kCases[i].execution, r.middle, r.low,
                  r.high, bytes[i] / bytes[0], bytes[i] / 1048576.0);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    std::printf("\npeak resident memory of this process, all models together: %.0f MiB\n", static_cast<double>(usage.ru_maxrss) / 1024.0);
  }
}
