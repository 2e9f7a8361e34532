#include <torch/library.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_qr.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/host_tensors.hpp"
#include "tests/support/message.hpp"

// Linear algebra that does not converge, at every call of a step. Memory that runs out: replace_test.cpp.
namespace {

using namespace scalevec;
using namespace scalevec::host_tests;
using torch::Tensor;
using Groups = std::vector<torch::optim::OptimizerParamGroup>;

// Under this key a call of a decomposition throws at number `failing_call` from now; all else passes through.
constexpr auto kKey = c10::DispatchKey::TESTING_ONLY_GenericMode;
thread_local int failing_call = -1;

void count(const char* what) {
  if (failing_call >= 0 && failing_call-- == 0)
    TORCH_CHECK_LINALG(false, what, ": (Batch element 0): The algorithm failed to converge");
}

std::tuple<Tensor, Tensor> failing_eigh(const Tensor& matrix, c10::string_view uplo) {
  count("linalg.eigh");
  const c10::impl::ExcludeDispatchKeyGuard guard(kKey);
  return at::linalg_eigh(matrix, uplo);
}

std::tuple<Tensor, Tensor> failing_qr(const Tensor& matrix, c10::string_view mode) {
  count("linalg.qr");
  const c10::impl::ExcludeDispatchKeyGuard guard(kKey);
  return at::linalg_qr(matrix, mode);
}

}  // namespace

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, m) { m.fallback(torch::CppFunction::makeFallthrough()); }
TORCH_LIBRARY_IMPL(aten, TESTING_ONLY_GenericMode, m) {
  m.impl("linalg_eigh", failing_eigh);
  m.impl("linalg_qr", failing_qr);
}

TEST_CASE("a step in which any one decomposition fails leaves everything as it was, and the next one is undisturbed") {
  const auto build = [](std::vector<Tensor>& params) {
    params = {leaf({6, 4}, 1), leaf({5, 7}, 2), leaf({3}, 3), leaf({4, 4}, 4, torch::kBFloat16)};
    Groups groups;
    const SOAPOptions soap = SOAPOptions(1e-2).precondition_frequency(2).rounding("compensated");
    groups.emplace_back(std::vector<Tensor>{params[0]}, std::make_unique<SOAPOptions>(soap));
    groups.emplace_back(std::vector<Tensor>{params[2]}, std::make_unique<AdamWOptions>(1e-2));
    groups.emplace_back(std::vector<Tensor>{params[1], params[3]}, std::make_unique<SOAPOptions>(soap));
    auto optimizer = std::make_unique<Optimizer>(groups, std::make_unique<AdamWOptions>(1e-2));
    optimizer->set_max_norm(0.5);
    return optimizer;
  };
  const auto grads = [](const std::vector<Tensor>& params, int step) {
    for (size_t i = 0; i < params.size(); ++i) set_grad(params[i], static_cast<size_t>(10 * step) + i);
  };
  const auto run = [&](Optimizer& optimizer, const std::vector<Tensor>& params, int to) {
    for (int step = 0; step < to; ++step) {
      grads(params, step);
      optimizer.trace_next_step();
      optimizer.step();
    }
  };
  // The first step takes eigenbases, the third turns them.
  for (const int before : {0, 2}) {
    std::vector<Tensor> undisturbed;
    const auto other = build(undisturbed);
    run(*other, undisturbed, before + 1);
    int failures = 0;
    for (int at = 0; at <= failures; ++at) {
      std::vector<Tensor> params;
      const auto optimizer = build(params);
      run(*optimizer, params, before);
      grads(params, before);
      const auto state = held_by(*optimizer);
      std::vector<Tensor> values;
      std::vector<std::int64_t> versions;
      for (const Tensor& p : params) {
        values.push_back(p.detach().clone());
        versions.push_back(p._version());
      }
      const size_t traces = optimizer->traces().size();
      optimizer->trace_next_step();
      std::string said;
      {
        const c10::impl::IncludeDispatchKeyGuard guard(kKey);
        failing_call = at;
        said = message_of([&] { optimizer->step(); });
        failing_call = -1;
      }
      if (!said.empty()) {
        ++failures;
        INFO(said);
        CHECK(said.find("param.") == 0);
        CHECK(said.find("soap: linalg.") != std::string::npos);
        CHECK(said.find("failed to converge") != std::string::npos);
        const auto now = held_by(*optimizer);
        REQUIRE(now.size() == state.size());
        for (const auto& [name, tensor] : now) CHECK(torch::equal(tensor, state.at(name)));
        for (size_t i = 0; i < params.size(); ++i) {
          CHECK(torch::equal(params[i], values[i]));
          CHECK(params[i]._version() == versions[i]);
        }
        CHECK(optimizer->traces().size() == traces);
        optimizer->step();
      }
      CHECK(optimizer->traces().size() == params.size());
      for (size_t i = 0; i < params.size(); ++i) CHECK(torch::equal(params[i], undisturbed[i]));
    }
    // Two sides of each of three matrices.
    CHECK(failures == 6);
  }
}
