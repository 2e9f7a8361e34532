#include <torch/optim.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/host_tensors.hpp"
#include "tests/support/message.hpp"

// What programs do between two steps that only some methods can be asked for. See also host_test.cpp.
namespace {

using namespace scalevec;
using namespace scalevec::host_tests;
using torch::Tensor;
using Groups = std::vector<torch::optim::OptimizerParamGroup>;

// Resident and mapped memory of this process, bytes.
std::pair<double, double> memory() {
  std::ifstream in("/proc/self/statm");
  double mapped = 0, resident = 0;
  in >> mapped >> resident;
  return {4096 * resident, 4096 * mapped};
}

struct OwnAdamW8bit : methods::AdamW8bit {
  static constexpr const char* kName = "own_adamw8bit";
};

struct OwnSGD : methods::SGD {
  static constexpr const char* kName = "own_sgd";
};

}  // namespace

TEST_CASE("a method of the program's own with states of 8 bits steps as the library's of the same rule") {
  const Tensor p = leaf({70, 9}, 1), q = leaf({70, 9}, 1);
  SingleMethodOptimizer<OptionsOf<OwnAdamW8bit>> own({p}, OptionsOf<OwnAdamW8bit>(1e-2));
  AdamW8bit library(std::vector<Tensor>{q}, AdamW8bitOptions(1e-2));
  for (int step = 0; step < 5; ++step) {
    p.mutable_grad() = gradient(p, step);
    q.mutable_grad() = gradient(q, step);
    own.step();
    library.step();
    CHECK(torch::allclose(p, q, 0, 1e-3 * 1e-2));
  }
}

TEST_CASE(
    "sums over equal elements, whose roundings add up, are exact to 1e-6 for the program's methods and the library's") {
  const auto draws = torch::rand({200, 2}, torch::dtype(torch::kFloat64)) + 1.0;
  for (int i = 0; i < draws.size(0); ++i) {
    const double value = static_cast<float>(draws[i][0].item<double>()),
                 grad = static_cast<float>(draws[i][1].item<double>());
    // Of both signs, since what is parallel to its change is summed in double precision.
    const Tensor p = (torch::arange(3000).remainder(2) * (2 * value) - value).to(torch::kFloat32).requires_grad_(true);
    const Tensor q = p.detach().clone().requires_grad_(true), before = p.detach().to(torch::kFloat64);
    p.mutable_grad() = torch::full({3000}, grad);
    q.mutable_grad() = torch::full({3000}, grad);
    SingleMethodOptimizer<OptionsOf<OwnSGD>> own({p}, OptionsOf<OwnSGD>(0.1));
    SGD library(std::vector<Tensor>{q}, SGDOptions(0.1));
    for (Optimizer* optimizer : {static_cast<Optimizer*>(&own), static_cast<Optimizer*>(&library)}) {
      optimizer->trace_next_step();
      optimizer->step();
      const TraceRow& row = optimizer->traces()[0];
      const Tensor moved = (optimizer == &own ? p : q).detach().to(torch::kFloat64) - before;
      INFO(value << " " << grad);
      CHECK(std::abs(row.param_norm * row.param_norm / (3000 * value * value) - 1) <= 1e-6);
      CHECK(std::abs(row.grad_norm * row.grad_norm / (3000 * grad * grad) - 1) <= 1e-6);
      CHECK(std::abs(row.update_norm * row.update_norm / moved.square().sum().item<double>() - 1) <= 1e-6);
      CHECK(std::abs(row.predicted_decrease / (-grad * moved.sum().item<double>()) - 1) <= 1e-6);
    }
  }
}

TEST_CASE("SGD's momentum set after steps without it acts as torch::optim::SGD's") {
  for (const double dampening : {0.0, 0.25}) {
    const Tensor p = leaf({5, 3}, 1, torch::kFloat64), q = leaf({5, 3}, 1, torch::kFloat64);
    SGD ours(std::vector<Tensor>{p}, SGDOptions(0.1));
    torch::optim::SGD torchs(std::vector<Tensor>{q}, torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 8; ++step) {
      if (step == 3) {
        static_cast<SGDOptions&>(ours.param_groups()[0].options()).momentum(0.9).dampening(dampening);
        static_cast<torch::optim::SGDOptions&>(torchs.param_groups()[0].options()).momentum(0.9).dampening(dampening);
      }
      p.mutable_grad() = gradient(p, step);
      q.mutable_grad() = gradient(q, step);
      ours.step();
      torchs.step();
      INFO("step " << step << ", dampening " << dampening);
      CHECK(torch::allclose(p, q, 0, 1e-14));
    }
  }
}

TEST_CASE("SGD's state is what it holds after momentum is turned off, and the buffer is let go by a step") {
  const Tensor p = leaf({5, 3}, 1);
  SGD optimizer(std::vector<Tensor>{p}, SGDOptions(0.1).momentum(0.9));
  auto& options = static_cast<SGDOptions&>(optimizer.param_groups()[0].options());
  for (int step = 0; step < 2; ++step) {
    p.mutable_grad() = gradient(p, step);
    optimizer.step();
  }
  options.momentum(0.0);
  CHECK(held_by(optimizer).count("param.0.0/momentum_buffer") == 1);
  // What is held is what another optimizer of the same options takes.
  const Tensor q = p.detach().clone().requires_grad_(true);
  SGD other(std::vector<Tensor>{q}, SGDOptions(0.1));
  other.load_named_state(optimizer.named_state());
  CHECK(held_by(other).count("param.0.0/momentum_buffer") == 1);
  std::stringstream file;
  torch::save(optimizer, file);
  torch::load(other, file);
  CHECK(torch::equal(held_by(other)["param.0.0/momentum_buffer"], held_by(optimizer)["param.0.0/momentum_buffer"]));
  const Tensor expected = p.detach() - 0.1 * p.grad();
  optimizer.step();
  CHECK(torch::allclose(p, expected, 0, 1e-7));
  CHECK(held_by(optimizer).count("param.0.0/momentum_buffer") == 0);
}

TEST_CASE("SOAP's max_precond_dim raised after a step is refused by name with nothing changed") {
  const Tensor p = leaf({12, 5}, 1);
  SOAP optimizer(Groups{{std::vector<Tensor>{p}}}, SOAPOptions(1e-2).max_precond_dim(8));
  optimizer.set_names({{"w", p, {}}});
  p.mutable_grad() = gradient(p, 0);
  optimizer.step();
  static_cast<SOAPOptions&>(optimizer.param_groups()[0].options()).max_precond_dim(100);
  const auto before = held_by(optimizer);
  CHECK(before.count("w/left") == 0);
  const Tensor value = p.detach().clone();
  const std::string said = message_of([&] { optimizer.step(); });
  CHECK(said.find("w: ") == 0);
  CHECK(said.find("left") != std::string::npos);
  CHECK(torch::equal(p, value));
  for (const auto& [name, tensor] : held_by(optimizer)) CHECK(torch::equal(tensor, before.at(name)));
}

TEST_CASE("a gradient whose square SOAP cannot hold is refused by name with nothing changed") {
  const Tensor p = leaf({6, 5}, 1), other = leaf({4}, 2);
  for (int round = 0; round < 12; ++round) {
    const int bad = round % 4, longest = 100 * (round / 4 == 0) + 5 * (round / 4 == 1);  // both sides, one, none
    Groups groups;
    groups.emplace_back(std::vector<Tensor>{other}, std::make_unique<AdamWOptions>(1e-2));
    groups.emplace_back(
        std::vector<Tensor>{p},
        std::make_unique<SOAPOptions>(SOAPOptions(1e-2).precondition_frequency(3).max_precond_dim(longest)));
    Optimizer optimizer(groups, std::make_unique<AdamWOptions>(1e-2), {{"w", p, {}}, {"v", other, {}}});
    for (int step = 0; step < bad; ++step) {
      p.mutable_grad() = gradient(p, step);
      other.mutable_grad() = gradient(other, step);
      optimizer.step();
    }
    const auto before = held_by(optimizer);
    const Tensor value = p.detach().clone(), value2 = other.detach().clone();
    p.mutable_grad() = torch::full_like(p, 1e25);
    other.mutable_grad() = gradient(other, bad);
    if (bad == 0 && longest == 0) continue;  // the first step takes nothing from the gradient but its bases
    const std::string said = message_of([&] { optimizer.step(); });
    INFO("at step " << bad << ": " << said);
    CHECK(said.find("w: ") == 0);
    CHECK(torch::equal(p, value));
    CHECK(torch::equal(other, value2));
    const auto after = held_by(optimizer);
    REQUIRE(after.size() == before.size());
    for (const auto& [name, tensor] : after) CHECK(torch::equal(tensor, before.at(name)));
    p.mutable_grad() = gradient(p, bad);
    optimizer.step();
    CHECK(torch::isfinite(p).all().item<bool>());
  }
}

TEST_CASE("Muon's and NorMuon's updates do not depend on the gradient's scale") {
  for (const char* method : {"muon", "normuon"})
    for (const char* precision : {"bfloat16", "float32"})
      for (const double factor : {std::exp2(-40.0), std::exp2(-100.0), std::exp2(60.0)}) {
        INFO(method << " " << precision << " " << factor);
        const Tensor p = leaf({7, 5}, 1), q = leaf({7, 5}, 1);
        const auto options = [&] {
          auto made = make_method_options(method);
          static_cast<MethodOptions&>(*made).set_lr(1e-2);
          for (const auto& field : made->fields())
            if (field.key == "precision") *std::get<std::string*>(field.value) = precision;
          return made;
        };
        Optimizer one(Groups{{std::vector<Tensor>{p}}}, options()), two(Groups{{std::vector<Tensor>{q}}}, options());
        two.set_check_finite(false);
        for (int step = 0; step < 3; ++step) {
          p.mutable_grad() = gradient(p, step);
          q.mutable_grad() = gradient(q, step) * factor;
          one.step();
          two.step();
          CHECK(torch::equal(p, q));
        }
      }
}

TEST_CASE("Nesterov momentum is taken only with a momentum and no dampening, as torch::optim::SGD has it") {
  const Tensor p = leaf({3}, 1);
  const auto made = [&](SGDOptions options) { return message_of([&] { SGD(std::vector<Tensor>{p}, options); }); };
  CHECK(made(SGDOptions(0.1).nesterov(true)).find("nesterov") != std::string::npos);
  CHECK(made(SGDOptions(0.1).nesterov(true).momentum(0.9).dampening(0.5)).find("nesterov") != std::string::npos);
  CHECK(made(SGDOptions(0.1).nesterov(true).momentum(0.9)).empty());
}

TEST_CASE("a thousand small optimizers take little memory") {
  std::vector<Tensor> params;
  for (int i = 0; i < 1000; ++i) params.push_back(leaf({10}, 1));
  for (const Tensor& p : params) p.mutable_grad() = torch::ones({10});
  const auto [resident, mapped] = memory();
  std::vector<std::unique_ptr<AdamW>> optimizers;
  for (const Tensor& p : params) {
    optimizers.push_back(std::make_unique<AdamW>(std::vector<Tensor>{p}, AdamWOptions(1e-3)));
    optimizers.back()->step();
  }
  const auto [resident_after, mapped_after] = memory();
  CHECK(resident_after - resident < 20e6);
  CHECK(mapped_after - mapped < 200e6);
}

TEST_CASE("gradients may be lazily conjugated, zero or of a wider type") {
  const Tensor p = leaf({4, 3}, 1), q = leaf({4, 3}, 1);
  AdamW one(std::vector<Tensor>{p}, AdamWOptions(1e-2)), two(std::vector<Tensor>{q}, AdamWOptions(1e-2));
  const Tensor z = torch::complex(gradient(p, 1), gradient(p, 2));
  p.mutable_grad() = at::imag(z.conj());
  REQUIRE(p.grad().is_neg());
  q.mutable_grad() = -gradient(p, 2);
  one.step();
  two.step();
  CHECK(torch::equal(p, q));
  p.mutable_grad() = at::_efficientzerotensor({4, 3}, torch::kFloat32);
  q.mutable_grad() = torch::zeros({4, 3});
  one.step();
  two.step();
  CHECK(torch::equal(p, q));
}
