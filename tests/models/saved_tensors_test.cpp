#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "bench/saved_tensors.hpp"
#include "models/decoder.hpp"
#include "models/initial_value.hpp"
#include "tests/support/catch.hpp"

namespace {

using namespace scalevec;
using namespace scalevec::models;
using bench::SavedTensor;

DecoderOptions small(const std::string& preset, Execution execution) {
  DecoderOptions o;
  o.vocab_size = 40;
  o.width = 48;
  o.layers = 2;
  o.heads = 3;
  o.mlp_width = 80;
  o.scales = scale_preset(preset);
  o.execution = execution;
  return o;
}

// Storages that a training forward over tokens [4, 33] keeps, parameters apart.
std::vector<SavedTensor> kept_by(const DecoderOptions& options) {
  Decoder model(options, 1);
  {
    const torch::NoGradGuard no_grad;
    for (auto& p : model.named_parameters()) p.value().add_(normal_values(p.value().sizes(), 0.3, 2, p.key()));
  }
  const torch::Tensor tokens =
      (normal_values({4, 33}, 1e3, 3, "tokens").to(torch::kInt64)).remainder(options.vocab_size);
  return bench::distinct_storages(bench::saved_tensors([&] { return model.loss(tokens, 0); }), model.parameters());
}

std::string listed(const std::vector<SavedTensor>& storages) {
  std::string text;
  for (const SavedTensor& s : storages)
    text += s.op + " " + std::to_string(s.storage_bytes()) + " " + c10::str(s.tensor.sizes()) + "\n";
  return text;
}

}  // namespace

TEST_CASE("folded execution saves what the backward needs, to the byte") {
  const std::int64_t n = 4 * 32, d = 48, h = 80, heads = 3, vocab = 40, layers = 2, head_dim = 16, f = 4;
  // x̂, attention's q, k, v, output and its log-sum-exp per head; x̂, gate, up and their product; one number per norm.
  const std::int64_t block = n * (5 * d + heads + 1 + d + 3 * h + 1) * f;
  // The stream before the final norm, its rstd, what the unembedding reads, logits and their log-sum-exp, RoPE's
  // tables, the tokens and the targets.
  const std::int64_t ends = n * (2 * d + 1 + vocab + 1) * f + 2 * 32 * (head_dim / 2) * f + 4 * 33 * 8 + n * 8;
  // DNP: q and k before their norm, and five norms' numbers.
  const std::int64_t dnp = layers * n * (2 * d + 5) * f;
  for (const auto& [preset, more] : {std::pair("plain", std::int64_t{0}), {"hg", 0}, {"dp", 0}, {"dnp", dnp}}) {
    INFO(preset);
    const std::vector<SavedTensor> kept = kept_by(small(preset, Execution::folded));
    INFO(listed(kept));
    const std::int64_t bytes =
        std::accumulate(kept.begin(), kept.end(), std::int64_t{0},
                        [](std::int64_t sum, const SavedTensor& s) { return sum + s.storage_bytes(); });
    CHECK(bytes == layers * block + ends + more);
  }
  // Capped attention forms its weights again in the backward pass, from q, k and v without a number per head.
  DecoderOptions capped = small("plain", Execution::folded);
  capped.attn_softcap = 20.0;
  std::int64_t bytes = 0;
  for (const SavedTensor& s : kept_by(capped)) bytes += s.storage_bytes();
  CHECK(bytes == layers * (block - n * heads * f) + ends);
}

TEST_CASE("no design saves the same values twice") {
  for (const std::string& preset : scale_presets())
    for (const Execution execution : {Execution::naive, Execution::folded}) {
      INFO(preset << (execution == Execution::folded ? ", folded" : ", naive"));
      const auto twice = bench::saved_twice(kept_by(small(preset, execution)), 1024);
      for (const auto& [a, b] : twice) INFO(a.op << " and " << b.op << ": " << c10::str(a.tensor.sizes()));
      CHECK(twice.empty());
    }
}

TEST_CASE("the census sees a copy that is saved beside its original") {
  const torch::Tensor x = normal_values({64, 64}, 1.0, 1, "x").requires_grad_();
  const auto saved = bench::saved_tensors([&] { return (x * 2).square().sum() + (x * 2).clone().square().sum(); });
  CHECK(bench::saved_twice(bench::distinct_storages(saved, {x}), 1024).size() == 1);
}
