#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/decoder.hpp"
#include "models/options_json.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec::models;

namespace {

using nlohmann::json;

torch::Tensor tensor_of(const json& values) {
  return torch::tensor(values.get<std::vector<double>>(), torch::kFloat64);
}

double relative_gap(const torch::Tensor& ours, const torch::Tensor& theirs) {
  return ((ours.to(torch::kFloat64) - theirs).abs().max() / theirs.abs().max()).item<double>();
}

}  // namespace

TEST_CASE("logits equal Hugging Face's for Llama and for Qwen3's QK-norm") {
  const json fixture = scalevec::read_json_file(SCALEVEC_FIXTURES "/llama/llama.json");
  REQUIRE(fixture["cases"].size() == 3);
  for (const json& item : fixture["cases"]) {
    INFO(item["name"].get<std::string>());
    scalevec::JsonReader reader(item["options"], "options");
    scalevec::models::Decoder model(scalevec::models::read_decoder_options(reader), 0);
    reader.finish();
    model.to(torch::kFloat64);
    const torch::NoGradGuard no_grad;
    const auto parameters = model.named_parameters();
    REQUIRE(parameters.size() == item["weights"].size());
    for (const auto& p : parameters) {
      REQUIRE(item["weights"].contains(p.key()));
      p.value().copy_(tensor_of(item["weights"][p.key()]).view_as(p.value()));
    }
    const auto rows = item["tokens"].get<std::vector<std::vector<std::int64_t>>>();
    std::vector<torch::Tensor> tokens;
    for (const auto& row : rows) tokens.push_back(torch::tensor(row, torch::kInt64));

    const torch::Tensor logits64 = model.forward(torch::stack(tokens));
    CHECK(relative_gap(logits64, tensor_of(item["logits64"]).view_as(logits64)) <= 1e-12);
    model.to(torch::kFloat32);
    const torch::Tensor logits32 = model.forward(torch::stack(tokens));
    CHECK(relative_gap(logits32, tensor_of(item["logits32"]).view_as(logits32)) <= 2e-5);
  }
}
