#include <torch/optim/optimizer.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "optim/method.hpp"
#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"
#include "tests/support/reference_optimizers.hpp"
#include "tests/support/reference_tensors.hpp"

namespace {

using namespace scalevec;
using torch::Tensor;

const nlohmann::json& fixture() {
  static const nlohmann::json json = nlohmann::json::parse(std::ifstream(SCALEVEC_FIXTURES "/muon/muon.json"));
  return json;
}

// The formulas of tests/fixtures/muon/generate.py.
Tensor initial(const std::string& name, const std::vector<std::int64_t>& shape) {
  Tensor t = torch::empty(shape, torch::kFloat64);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    t.data_ptr<double>()[i] = std::sin(1.7 * static_cast<double>(i) + static_cast<double>(name.size()));
  return t.to(torch::kFloat32);
}

Tensor gradient(const std::string& name, const Tensor& like, int step) {
  Tensor t = torch::empty(like.sizes(), torch::kFloat64);
  for (std::int64_t i = 0; i < t.numel(); ++i)
    t.data_ptr<double>()[i] =
        std::sin(0.7 * static_cast<double>(i * i) + 1.3 * step + static_cast<double>(name.size()));
  if (name == "spread")
    t.mul_(0.1).diagonal().add_(2 * torch::pow(20.0, torch::arange(24, torch::kFloat64) / 23));
  else
    t.diagonal().add_(3);
  return t.to(torch::kFloat32);
}

// ‖ours − reference‖/‖reference's whole change‖ after 12 steps with a falling lr.
template <class Options>
double difference_from_reference(Options options, reference::Muon muon, DecayCoupling coupling, double target,
                                 const std::vector<std::int64_t>& shape, torch::Dtype dtype) {
  torch::manual_seed(11);
  Tensor param = torch::randn(shape, torch::kFloat64).to(dtype);
  const Tensor start = param.to(torch::kFloat64).clone();
  reference::Matrix p = to_reference(param);
  param.requires_grad_(true);
  options.weight_decay(0.1).decay_coupling(coupling).decay_target(target);
  const double lr = options.lr();
  SingleMethodOptimizer<Options> optimizer(std::vector<Tensor>{param}, options);
  for (int step = 0; step < 12; ++step) {
    param.mutable_grad() = torch::randn(shape, torch::kFloat64).to(dtype);
    const double factor = 1.0 - step / 16.0;
    optimizer.set_lr_factor(factor);
    optimizer.step();
    muon.step(p, to_reference(param.grad()), {std::string(to_string(coupling)), 0.1, target, lr * factor, lr});
  }
  const Tensor expected = to_tensor(p);
  return ((param.detach().to(torch::kFloat64) - expected).norm() / (expected - start).norm()).template item<double>();
}

const std::vector<reference::Triple> kQuintic(5, {3.4445, -4.7750, 2.0315});

}  // namespace

TEST_CASE("Muon's bfloat16 mode goes where torch.optim.Muon goes") {
  const std::vector<std::pair<std::string, MuonOptions>> cases{
      {"default", MuonOptions()},
      {"match_rms_adamw", MuonOptions(2e-3).lr_scaling("match_rms_adamw").weight_decay(0.0).momentum(0.9)},
      {"plain", MuonOptions(1e-2).nesterov(false).ns_steps(3)}};
  for (const auto& [name, options] : cases)
    for (const auto& item : fixture()["shapes"].items()) {
      INFO(name << " " << item.key());
      const Tensor start = initial(item.key(), item.value());
      Tensor param = start.clone().requires_grad_(true);
      Muon optimizer(std::vector<Tensor>{param}, options);
      for (int step = 0; step < 10; ++step) {
        param.mutable_grad() = gradient(item.key(), param, step);
        optimizer.step();
        if (step != 0 && step != 9) continue;
        const std::vector<float> end = fixture()["cases"][name][std::to_string(step + 1)][item.key()];
        const Tensor expected = torch::tensor(end).reshape(param.sizes());
        CHECK(relative(param.detach() - start, expected - start) <= 2e-2);
      }
    }
}

TEST_CASE("Muon's defaults are torch.optim.Muon's") {
  const auto& defaults = fixture()["defaults"];
  const MuonOptions options;
  CHECK(options.lr() == defaults["lr"].get<double>());
  CHECK(options.weight_decay() == defaults["weight_decay"].get<double>());
  CHECK(options.decay_coupling() == DecayCoupling::lr);
  CHECK(options.momentum() == defaults["momentum"].get<double>());
  CHECK(options.nesterov() == defaults["nesterov"].get<bool>());
  CHECK(options.eps() == defaults["eps"].get<double>());
  CHECK(options.ns_steps() == defaults["ns_steps"].get<std::int64_t>());
  CHECK(defaults["ns_coefficients"] == nlohmann::json({kQuintic[0].a, kQuintic[0].b, kQuintic[0].c}));
  CHECK(options.coefficients() == "quintic");
}

TEST_CASE("Muon in float64 and float32 follows a double reference under every decay, scaling and shape") {
  const auto muon = [](double factor) {
    reference::Muon m;
    m.steps = kQuintic;
    m.lr_factor = factor;
    return m;
  };
  for (const auto coupling : {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2})
    for (const double target : {0.0, 1.0}) {
      INFO(std::string(to_string(coupling)) << " toward " << target);
      const auto options = MuonOptions(1e-2).precision("auto");
      const auto off = [&](const std::vector<std::int64_t>& shape, double factor, torch::Dtype dtype) {
        return difference_from_reference(options, muon(factor), coupling, target, shape, dtype);
      };
      CHECK(off({9, 21}, 1.0, torch::kFloat64) <= 1e-11);
      CHECK(off({32, 8}, 2.0, torch::kFloat64) <= 1e-11);
      CHECK(off({9, 21}, 1.0, torch::kFloat32) <= 2e-5);
      CHECK(off({32, 8}, 2.0, torch::kFloat32) <= 2e-5);
    }
  const auto lr = DecayCoupling::lr;
  const auto options = [] { return MuonOptions(1e-2).precision("auto"); };
  CHECK(difference_from_reference(options().lr_scaling("match_rms_adamw"), muon(0.2 * 5), lr, 0, {25, 9},
                                  torch::kFloat64) <= 1e-11);
  CHECK(difference_from_reference(options().lr_scaling("spectral"), muon(0.5), lr, 0, {5, 20}, torch::kFloat64) <=
        1e-11);
  CHECK(difference_from_reference(options(), muon(std::sqrt(300.0 / 290)), lr, 0, {300, 290}, torch::kFloat64) <=
        1e-11);
  CHECK(difference_from_reference(options(), muon(std::sqrt(300.0 / 290)), lr, 0, {300, 290}, torch::kFloat32) <= 2e-5);
  // A float64 parameter whose steps are float32.
  CHECK(difference_from_reference(options().precision("float32"), muon(1.0), lr, 0, {9, 21}, torch::kFloat64) <= 2e-5);
}

TEST_CASE("the Polar Express converges to the polar factor of the SVD") {
  torch::manual_seed(2);
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{40, 70}, {70, 40}, {30, 30}}) {
    Tensor param = torch::zeros(shape, torch::kFloat64).requires_grad_(true);
    param.mutable_grad() = torch::randn(shape, torch::kFloat64);
    Muon optimizer(std::vector<Tensor>{param}, MuonOptions(1.0)
                                                   .coefficients("polar_express")
                                                   .precision("auto")
                                                   .ns_steps(14)
                                                   .lr_scaling("original")
                                                   .weight_decay(0.0));
    const auto [u, s, vh] = torch::linalg_svd(param.grad(), false);
    optimizer.step();
    const double scale = std::sqrt(std::max(1.0, static_cast<double>(shape[0]) / static_cast<double>(shape[1])));
    CHECK((param.detach() / scale + u.matmul(vh)).abs().max().item<double>() <= 1e-9);
  }
}

TEST_CASE("NorMuon follows a double reference") {
  for (const auto& [scaling, rows, factor] :
       {std::tuple("original", "norm", 2.0), std::tuple("match_rms_adamw", "rms", 1.0)})
    for (const auto coupling : {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2})
      for (const double target : {0.0, 1.0}) {
        INFO(scaling << ", " << std::string(to_string(coupling)) << " toward " << target);
        reference::Muon muon;
        muon.steps = kQuintic;
        muon.rows = rows;
        muon.lr_factor = factor;
        const auto options = NorMuonOptions(1e-2).precision("auto").lr_scaling(scaling);
        CHECK(difference_from_reference(options, muon, coupling, target, {32, 8}, torch::kFloat64) <= 1e-11);
        CHECK(difference_from_reference(options, muon, coupling, target, {32, 8}, torch::kFloat32) <= 2e-5);
      }
}

TEST_CASE("row blocks are trained as matrices of their own") {
  const auto check = [](auto options) {
    torch::manual_seed(4);
    const Tensor value = torch::randn({30, 14}), grad = torch::randn({30, 14});
    std::vector<NamedParam> stacked{{"qkv", value.clone().requires_grad_(true), {ParamKind::matrix}}}, parts;
    stacked[0].role.row_blocks = 3;
    for (std::int64_t b = 0; b < 3; ++b)
      parts.push_back({"part" + std::to_string(b), value.narrow(0, 10 * b, 10).clone().requires_grad_(true), {}});
    std::vector<Tensor> tensors;
    for (const NamedParam& p : parts) tensors.push_back(p.tensor);
    Optimizer one({{std::vector<Tensor>{stacked[0].tensor}}}, options(), stacked);
    Optimizer three({{tensors}}, options());
    for (int step = 0; step < 3; ++step) {
      stacked[0].tensor.mutable_grad() = grad * (step + 1);
      for (std::int64_t b = 0; b < 3; ++b)
        tensors[static_cast<size_t>(b)].mutable_grad() = grad.narrow(0, 10 * b, 10) * (step + 1);
      one.step();
      three.step();
    }
    CHECK(torch::equal(stacked[0].tensor, torch::cat(tensors)));
  };
  check([] { return std::make_unique<MuonOptions>(MuonOptions().lr_scaling("match_rms_adamw")); });
  check([] { return std::make_unique<NorMuonOptions>(NorMuonOptions().precision("float32")); });
}

TEST_CASE("what is not a matrix, or not of equal row blocks, is refused by name") {
  const Tensor vector = torch::zeros({6}).requires_grad_(true), conv = torch::zeros({4, 2, 3}).requires_grad_(true);
  const Tensor matrix = torch::zeros({6, 4}).requires_grad_(true);
  for (const char* method : {"muon", "normuon", "soap"}) {
    INFO(method);
    const auto refusal = [&](const NamedParam& p) {
      return message_of([&] { Optimizer({{std::vector<Tensor>{p.tensor}}}, make_method_options(method), {p}); });
    };
    CHECK(refusal({"norm", vector, {}}) == "norm: shape [6]: " + std::string(method) + " trains matrices only");
    CHECK(refusal({"conv", conv, {}}) == "conv: shape [4,2,3]: " + std::string(method) + " trains matrices only");
    NamedParam stacked{"qkv", matrix, {}};
    stacked.role.row_blocks = 4;
    CHECK(refusal(stacked) == "qkv: shape [6,4]: its rows are not 4 equal blocks");
    stacked.role.row_blocks = 3;
    CHECK(refusal(stacked).empty());

    Optimizer late({{std::vector<Tensor>{matrix}}}, make_method_options("sgd"));
    const torch::optim::OptimizerParamGroup misfit(std::vector<Tensor>{vector}, make_method_options(method));
    CHECK(message_of([&] { late.add_param_group(misfit); }).find("param.1.0: shape [6]") != std::string::npos);
    late.step();
    torch::optim::Optimizer& base = late;
    base.add_param_group(misfit);
    CHECK(message_of([&] { late.step(); }).find("param.1.0: shape [6]") != std::string::npos);
    // A parameter exchanged for another leaves every group's size as it was.
    Optimizer exchanged({{std::vector<Tensor>{matrix}}}, make_method_options(method));
    exchanged.param_groups()[0].params()[0] = vector;
    CHECK(message_of([&] { exchanged.step(); }).find("param.0.0: shape [6]") != std::string::npos);

    const RolePolicy policy =
        RolePolicy::from_json(R"({"lr": 1, "rules": [{"match": {}, "method": ")" + std::string(method) + "\"}]}");
    CHECK(message_of([&] { policy.resolve({{"norm", vector, {}}}); }).find("norm (matrix): shape [6]") == 0);
  }
  CHECK(message_of([&] {
          Muon({matrix}, MuonOptions().coefficients("cubic"));
        }).find("coefficients: got cubic; allowed: quintic, polar_express") != std::string::npos);
}

TEST_CASE("the products of an update follow method and shape") {
  const auto flops = [](const MethodOptions& options, std::vector<std::int64_t> shape, std::int64_t row_blocks = 1) {
    return options.implementation().flops(options, shape, row_blocks);
  };
  const double small = 5 * (3.0 * 100 * 20 + 1000);  // five steps on the smaller side: 3m²n + m³ each
  CHECK(flops(MuonOptions(), {10, 20}) == small);
  CHECK(flops(NorMuonOptions(), {20, 10}) == small);
  CHECK(flops(MuonOptions().ns_steps(6), {10, 20}) == small / 5 * 6);
  CHECK(flops(MuonOptions(), {30, 20}, 3) == 3 * small);  // three blocks of ten rows are three small matrices
  CHECK(flops(SOAPOptions(), {10, 20}) == 8.0 * (10 * 10 * 20 + 10 * 20 * 20));
  CHECK(flops(AdamWOptions(), {10, 20}) == 0.0);
}
