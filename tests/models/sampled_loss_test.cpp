#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>

#include "models/decoder.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::models;
using torch::Tensor;

namespace {

Decoder small_decoder() {
  DecoderOptions options;
  options.vocab_size = 13;
  options.width = 16;
  options.layers = 1;
  options.heads = 2;
  options.tie_embeddings = false;
  Decoder decoder(options, 3);
  decoder.to(torch::kFloat64);
  return decoder;
}

}  // namespace

TEST_CASE("labels drawn over an even grid have the chances that the model gives them") {
  Decoder decoder = small_decoder();
  {
    // Far from even predictions.
    const torch::NoGradGuard no_grad;
    for (const Tensor& p : decoder.parameters()) p.mul_(3.0);
  }
  const std::int64_t rows = 4096;
  const Tensor sequence = torch::tensor({{1, 5, 2, 0}}, torch::kInt64),
               tokens = sequence.expand({rows, 4}).contiguous();
  const Tensor grid = (torch::arange(rows, torch::kFloat64) + 0.5) / static_cast<double>(rows);
  const Tensor loss = decoder.sampled_loss(tokens, grid.unsqueeze(1).expand({rows, 3}));
  const Tensor logs = decoder.forward(sequence.narrow(1, 0, 3)).log_softmax(-1);
  // The mean of −log p over labels of chance p is the entropy, and the mean gradient is zero.
  const double entropy = -(logs.exp() * logs).sum(-1).mean().item<double>();
  // A label's share is off by a row at most.
  const double bound = 13.0 / static_cast<double>(rows) * -logs.min().item<double>();
  CHECK(std::abs(loss.item<double>() - entropy) <= bound);
  loss.backward();
  const Tensor of_labels = decoder.named_parameters()["unembed.weight"].grad().clone();
  decoder.zero_grad();
  decoder.loss(tokens, 0).backward();
  CHECK(of_labels.norm().item<double>() <=
        0.01 * decoder.named_parameters()["unembed.weight"].grad().norm().item<double>());
}

TEST_CASE("the least and the largest number draw the first and the last label, and targets are not read") {
  Decoder decoder = small_decoder();
  const Tensor tokens = torch::tensor({{1, 5, 2}}, torch::kInt64);
  const Tensor logs = decoder.forward(tokens.narrow(1, 0, 2)).log_softmax(-1).detach();
  for (const auto& [number, label] : {std::pair{0x1p-53, 0}, {1 - 0x1p-53, 12}}) {
    const Tensor loss = decoder.sampled_loss(tokens, torch::full({1, 2}, number, torch::kFloat64));
    CHECK(std::abs(loss.item<double>() + logs.select(2, label).mean().item<double>()) <= 1e-12);
  }
  const Tensor half = torch::full({1, 2}, 0.5, torch::kFloat64);
  CHECK(decoder.sampled_loss(tokens, half).item<double>() ==
        decoder.sampled_loss(torch::tensor({{1, 5, 7}}, torch::kInt64), half).item<double>());
  CHECK_THROWS_AS(decoder.sampled_loss(tokens, torch::zeros({3}, torch::kFloat64)), std::invalid_argument);
}
