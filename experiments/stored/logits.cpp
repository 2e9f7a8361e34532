#include "experiments/stored/logits.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "experiments/errors.hpp"
#include "optim/config/json_reader.hpp"

namespace scalevec::experiments {
namespace {

using Rows = std::vector<std::vector<std::int64_t>>;

Rows read_rows(const std::string& file, std::int64_t vocab_size) {
  const nlohmann::json json = read_json_file(file);
  const auto fail = [&](const std::string& where, const nlohmann::json& got, const std::string& allowed) {
    throw UsageError(file + ": " + where + ": got " + got.dump().substr(0, 40) + "; allowed: " + allowed);
  };
  if (!json.is_array() || json.empty()) fail("the whole", json, "an array of rows of token ids");
  Rows rows;
  for (const auto& row : json) {
    const std::string where = "row " + std::to_string(rows.size());
    if (!row.is_array() || row.empty()) fail(where, row, "a non-empty array of token ids");
    std::vector<std::int64_t> ids;
    for (const auto& id : row) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= static_cast<std::uint64_t>(vocab_size))
        fail(where + ", token " + std::to_string(ids.size()), id,
             "0 to " + std::to_string(vocab_size - 1) + ", the model's vocabulary");
      ids.push_back(id.get<std::int64_t>());
    }
    rows.push_back(std::move(ids));
  }
  return rows;
}

}  // namespace

std::string logits_json(models::Decoder& model, const std::filesystem::path& tokens) {
  const torch::NoGradGuard no_grad;
  std::string text = "[";
  for (const auto& ids : read_rows(tokens.string(), model.vocab_size())) {
    const torch::Tensor logits = model.forward(torch::tensor(ids, torch::kInt64).unsqueeze(0)).squeeze(0);
    const char* format = logits.scalar_type() == torch::kFloat64 ? "%.17g" : "%.9g";
    const torch::Tensor values = logits.to(torch::kFloat64).contiguous();
    const auto at = values.accessor<double, 2>();
    text += text.size() == 1 ? "[" : ",\n[";
    for (std::int64_t t = 0; t < at.size(0); ++t) {
      text += t == 0 ? "[" : ",\n[";
      for (std::int64_t v = 0; v < at.size(1); ++v) {
        if (!std::isfinite(at[t][v])) throw RunError(tokens.string() + ": the model's logits are not finite");
        char number[32];
        std::snprintf(number, sizeof number, format, at[t][v]);
        text += (v == 0 ? "" : ",") + std::string(number);
      }
      text += "]";
    }
    text += "]";
  }
  return text + "]\n";
}

}  // namespace scalevec::experiments
