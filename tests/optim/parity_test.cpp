#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"

// 200 steps against the end states that PyTorch's Python optimizers reach (tests/fixtures/adamw/generate.py).
namespace {

using torch::Tensor;

const nlohmann::json& parity_fixture() {
  static const nlohmann::json json = nlohmann::json::parse(std::ifstream(SCALEVEC_FIXTURES "/adamw/adamw.json"));
  return json;
}

Tensor initial(const std::string& name, const std::vector<std::int64_t>& shape, torch::Dtype dtype) {
  Tensor t = torch::empty(shape, torch::kFloat64);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    t.data_ptr<double>()[i] = std::sin(1.7 * static_cast<double>(i) + static_cast<double>(name.size()));
  return t.to(dtype);
}

Tensor parity_gradient(const std::string& name, const Tensor& like, int step) {
  Tensor t = torch::empty(like.sizes(), torch::kFloat64);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    t.data_ptr<double>()[i] = std::cos(0.37 * static_cast<double>(i) + 0.11 * step + static_cast<double>(name.size())) *
                              (1 + 0.5 * std::sin(step * 0.05 * static_cast<double>(i + 1)));
  return t.to(like.dtype());
}

template <class Optimizer, class Options>
double worst_difference(const std::string& name, const Options& first, const Options& second, torch::Dtype dtype) {
  std::map<std::string, Tensor> params;
  for (const auto& item : parity_fixture()["shapes"].items()) {
    const std::vector<std::int64_t> shape = item.value();
    params[item.key()] = initial(item.key(), shape, dtype).requires_grad_(true);
  }
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<Tensor>{params["w"], params["b"]}, first.clone());
  groups.emplace_back(std::vector<Tensor>{params["gamma"]}, second.clone());
  Optimizer optimizer(groups, first);
  for (int step = 0; step < 200; ++step) {
    for (auto& [key, p] : params) p.mutable_grad() = parity_gradient(key, p, step);
    optimizer.step();
  }
  double worst = 0;
  for (auto& [key, p] : params) {
    const std::vector<double> expected = parity_fixture()["cases"][name][key];
    const Tensor end = p.detach().to(torch::kFloat64).flatten();
    for (size_t i = 0; i < expected.size(); ++i)
      worst = std::max(worst, std::abs(end[static_cast<std::int64_t>(i)].item<double>() - expected[i]) /
                                  std::max(1.0, std::abs(expected[i])));
  }
  return worst;
}

}  // namespace

TEST_CASE("AdamW, Adam and SGD end 200 steps where PyTorch does, with lr and decay per group", "[elementwise]") {
  using namespace scalevec;
  const auto adamw = [] { return AdamWOptions(3e-3).betas({0.9, 0.95}).weight_decay(0.1); };
  const auto adam = [] { return AdamOptions(3e-3).weight_decay(0.01); };
  const auto sgd = [] { return SGDOptions(3e-3).momentum(0.9).dampening(0.2).weight_decay(0.01); };
  const auto sgd2 = [] { return SGDOptions(1e-2).momentum(0.8).nesterov(true).weight_decay(0.05); };
  for (const auto& [dtype, tolerance] : {std::pair(torch::kFloat64, 1e-12), std::pair(torch::kFloat32, 2e-6)}) {
    CHECK(worst_difference<AdamW>("adamw", adamw(), adamw().lr(1e-2).weight_decay(0.0), dtype) <= tolerance);
    CHECK(worst_difference<Adam>("adam", adam(), adam().lr(1e-2).weight_decay(0.2), dtype) <= tolerance);
    CHECK(worst_difference<SGD>("sgd", sgd(), sgd2(), dtype) <= tolerance);
  }
}

TEST_CASE("defaults are those of torch::optim") {
  using namespace scalevec;
  const torch::optim::AdamWOptions adamw;
  CHECK(AdamWOptions().lr() == adamw.lr());
  CHECK(AdamWOptions().beta1() == std::get<0>(adamw.betas()));
  CHECK(AdamWOptions().beta2() == std::get<1>(adamw.betas()));
  CHECK(AdamWOptions().eps() == adamw.eps());
  CHECK(AdamWOptions().weight_decay() == adamw.weight_decay());
  const torch::optim::AdamOptions adam;
  CHECK(AdamOptions().weight_decay() == adam.weight_decay());
  CHECK(AdamOptions().eps() == adam.eps());
  const torch::optim::SGDOptions sgd(1e-3);
  CHECK(SGDOptions().momentum() == sgd.momentum());
  CHECK(SGDOptions().dampening() == sgd.dampening());
  CHECK(SGDOptions().nesterov() == sgd.nesterov());
}
