#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"

// 200 steps of a method beside those of another implementation, which scripts/optimizer_fixtures.py has run in float64.
// That script says how starting values and gradients are made.
namespace {

using namespace scalevec;
using json = nlohmann::ordered_json;  // parameters are numbered by their place
using torch::Tensor;

std::uint64_t hash64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

double noise(std::int64_t t, std::size_t k, std::int64_t i) {
  const auto key = (static_cast<std::uint64_t>(t) << 40) + (std::uint64_t{k} << 32) + static_cast<std::uint64_t>(i);
  return static_cast<double>(hash64(key) >> 11) * 0x1p-52 - 1.0;
}

// A tensor of f(i) at its elements in row-major order.
template <class F>
Tensor filled(c10::IntArrayRef sizes, torch::Dtype dtype, F f) {
  Tensor out = torch::empty(sizes, torch::kFloat64);
  for (std::int64_t i = 0; i < out.numel(); ++i) out.data_ptr<double>()[i] = f(i);
  return out.to(dtype);
}

Tensor fixture_gradient(const std::string& name, std::size_t k, std::int64_t t, const Tensor& param, double pull) {
  const Tensor p = param.detach().to(torch::kFloat64).contiguous();
  return filled(p.sizes(), param.scalar_type(), [&](std::int64_t i) {
    double g = std::ldexp(noise(t, k, i) + 0.5 * noise(0, k + 8, i), -static_cast<int>(i % 4));
    if (pull != 0.0) g += pull * (p.data_ptr<double>()[i] - noise(0, k + 16, i));
    return name == "gain" && i == 1 && t <= 5 ? 0.0 : g;
  });
}

// While methods are being written, a fixture whose method or option is not there yet is named and passed over.
constexpr bool kComplete = true;

// Null for an option that the method has not.
std::unique_ptr<MethodOptions> options_of(const std::string& method, const json& values) {
  auto options = make_method_options(method);
  for (const auto& [key, value] : values.items()) {
    bool known = false;
    for (const Option& field : options->fields()) {
      if (key != field.key) continue;
      known = true;
      if (const auto* number = std::get_if<double*>(&field.value)) **number = value.get<double>();
      if (const auto* flag = std::get_if<bool*>(&field.value)) **flag = value.get<bool>();
      if (const auto* whole = std::get_if<std::int64_t*>(&field.value)) **whole = value.get<std::int64_t>();
      if (const auto* word = std::get_if<std::string*>(&field.value)) **word = value.get<std::string>();
      if (const auto* coupling = std::get_if<EnumValue>(&field.value))
        coupling->set(coupling->at, static_cast<std::size_t>(*parse_decay_coupling(value.get<std::string>())));
    }
    if (known) continue;
    std::cout << "fixture without an option: " << method << " " << key << "\n";
    return nullptr;
  }
  return options;
}

// The larger of two, NaN if one is.
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

// |ours − theirs| at its largest, relative to what is larger of 1 and |theirs|.
double gap(const Tensor& ours, const json& theirs) {
  const Tensor flat = ours.detach().to(torch::kFloat64).contiguous().view({-1});
  REQUIRE(static_cast<std::size_t>(flat.numel()) == theirs.size());
  double worst = 0.0;
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    const double wanted = theirs[static_cast<std::size_t>(i)].get<double>();
    worst = larger(worst, std::abs(flat.data_ptr<double>()[i] - wanted) / std::max(1.0, std::abs(wanted)));
  }
  return worst;
}

// The worst gap over the fixture's steps.
double worst_gap(const std::string& method, const json& of, torch::Dtype dtype) {
  std::vector<NamedParam> params;
  for (const auto& [name, shape] : of["shapes"].items()) {
    const std::size_t k = params.size();
    ParamRole role;
    role.row_blocks = of.value("row_blocks", std::int64_t{1});
    role.head_dim = of.value("head_dim", std::int64_t{0});
    params.push_back(
        {name,
         filled(shape.get<std::vector<std::int64_t>>(), dtype, [&](std::int64_t i) { return noise(0, k, i); })
             .requires_grad_(true),
         role});
  }
  std::vector<Tensor> tensors;
  for (const NamedParam& p : params) tensors.push_back(p.tensor);
  const double pull = of.value("pull", 0.0);
  const auto warmup = of.value("warmup", std::int64_t{0});
  const auto hessian_every = of.value("hessian_every", std::int64_t{0});
  const std::vector<std::int64_t> after = of["after"];
  auto options = options_of(method, of["options"]);
  if (!options) return kComplete ? std::numeric_limits<double>::quiet_NaN() : 0.0;
  Optimizer optimizer({torch::optim::OptimizerParamGroup(tensors)}, std::move(options), params);
  double worst = 0.0;
  for (std::int64_t t = 1; t <= after.back(); ++t) {
    for (std::size_t k = 0; k < params.size(); ++k)
      tensors[k].mutable_grad() = fixture_gradient(params[k].name, k, t, tensors[k], pull);
    if (hessian_every > 0 && (t - 1) % hessian_every == 0) {
      std::vector<Tensor> grads;
      for (std::size_t k = 0; k < params.size(); ++k) {
        grads.push_back(tensors[k].grad());
        tensors[k].mutable_grad() =
            filled(tensors[k].sizes(), dtype, [&](std::int64_t i) { return noise(t, k + 24, i); });
      }
      optimizer.update_hessian(of["samples"].get<double>());
      for (std::size_t k = 0; k < params.size(); ++k) tensors[k].mutable_grad() = grads[k];
    }
    if (warmup > 0) optimizer.set_lr_factor(std::min(1.0, static_cast<double>(t) / static_cast<double>(warmup)));
    optimizer.step();
    const auto at = std::find(after.begin(), after.end(), t);
    if (at == after.end()) continue;
    for (const NamedParam& p : params)
      worst = larger(worst, gap(p.tensor, of["ends"][p.name][static_cast<std::size_t>(at - after.begin())]));
  }
  if (of.contains("averages")) {
    const AverageWeights average(optimizer);
    for (const NamedParam& p : params) worst = larger(worst, gap(p.tensor, of["averages"][p.name]));
  }
  return worst;
}

// What float64 may differ by. Both sides round every step, by some 1e-16 of the parameter, and neither order of
// additions is the other's: a walk of 200 steps stays below 1e-13, and where a denominator is small below 1e-11.
double tolerance_of(const std::string&) { return 1e-11; }

}  // namespace

TEST_CASE("methods end 200 steps where other implementations do", "[elementwise]") {
  const auto names = method_names();
  std::set<std::string> covered;
  for (const auto& file : std::filesystem::directory_iterator(SCALEVEC_FIXTURES "/optim")) {
    if (file.path().extension() != ".json") continue;
    const json fixture = json::parse(std::ifstream(file.path()), nullptr, true);
    const std::string method = fixture["method"];
    if (std::find(names.begin(), names.end(), method) == names.end()) {
      std::cout << "fixture without a method: " << method << "\n";
      CHECK(!kComplete);
      continue;
    }
    covered.insert(method);
    std::size_t index = 0;
    for (const json& of : fixture["cases"]) {
      INFO(method << " case " << index++ << " against " << of["reference"].get<std::string>());
      const double worst = worst_gap(method, of, torch::kFloat64);
      if (std::getenv("SCALEVEC_SHOW")) std::cout << method << " " << of["options"].dump() << ": " << worst << "\n";
      CHECK(worst <= tolerance_of(method));
    }
  }
  CHECK(covered.size() >= 2);
}
