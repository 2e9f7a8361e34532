#include "models/fold.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <string>

#include "tests/support/catch.hpp"
#include "tests/support/tensor_gap.hpp"

using namespace scalevec;
using namespace scalevec::models;

namespace {

// Gains between .3 and 3 in magnitude, half of them negative.
void randomise_gains(Decoder& model) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  for (const ScaleLink& link : model.scale_links()) {
    torch::Tensor gamma = model.named_parameters()[link.scale];
    const torch::Tensor size = torch::exp(torch::rand_like(gamma) * 2.3 - 1.2);
    gamma.copy_(torch::where(torch::rand_like(gamma) < 0.5, size, -size));
  }
}

}  // namespace

TEST_CASE("folding leaves the logits and takes every input-class scale away") {
  const torch::NoGradGuard no_grad;
  for (const bool tied : {true, false})
    for (const bool untie : {true, false})
      for (const bool qk_norm : {true, false}) {
        CAPTURE(tied, untie, qk_norm);
        Decoder model({.vocab_size = 37,
                       .width = 24,
                       .layers = 3,
                       .heads = 4,
                       .kv_heads = 2,
                       .tie_embeddings = tied,
                       .qk_norm = qk_norm,
                       .init_std = 0.3},
                      5);
        randomise_gains(model);
        const torch::Tensor tokens = torch::randint(0, 37, {2, 9});
        for (const auto& [dtype, tolerance] : {std::pair(torch::kFloat32, 2e-5), std::pair(torch::kFloat64, 1e-12)}) {
          model.to(dtype);
          const torch::Tensor before = model.forward(tokens);
          const FoldResult result = fold(model, untie);
          CHECK(gap(result.model->forward(tokens), before) <= tolerance);
          CHECK(model.forward(tokens).equal(before));

          const bool final_stays = tied && !untie;
          CHECK(result.folded.size() == (final_stays ? 6u : 7u));
          CHECK(result.kept.size() == (final_stays ? 1u : 0u) + (qk_norm ? 6u : 0u));
          const auto parameters = result.model->named_parameters();
          for (const std::string& scale : result.folded) CHECK(parameters[scale].eq(1).all().item<bool>());
          for (const auto& kept : result.kept)
            CHECK(parameters[kept.scale].equal(model.named_parameters()[kept.scale]));
          CHECK(result.model->options().tie_embeddings == final_stays);
        }
      }
}
