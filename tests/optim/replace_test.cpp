#include <torch/optim.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <new>
#include <sstream>

#include "optim/method.hpp"
#include "optim/optim.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/host_tensors.hpp"
#include "tests/support/message.hpp"

// Parameters replaced and state dropped between steps, archives of torch::optim, and steps in which memory runs out.
namespace {

using namespace scalevec;
using namespace scalevec::host_tests;
using torch::Tensor;
using Groups = std::vector<torch::optim::OptimizerParamGroup>;

std::unique_ptr<Optimizer> make(const std::string& method, const Tensor& p) {
  auto options = make_method_options(method);
  if (method == "sgd") static_cast<SGDOptions&>(*options).momentum(0.9);
  return std::make_unique<Optimizer>(Groups{{std::vector<Tensor>{p}}}, std::move(options),
                                     std::vector<NamedParam>{{"w", p, {}}});
}

// From and to torch::optim through an archive.
template <class Torch, class Ours>
void check_torch_archive(auto ours_options, auto torch_options) {
  const Tensor p = leaf({4, 3}, 1, torch::kFloat64), q = leaf({4, 3}, 1, torch::kFloat64);
  Torch theirs(std::vector<Tensor>{q}, torch_options);
  for (int step = 0; step < 3; ++step) {
    set_grad(q, step);
    theirs.step();
  }
  std::stringstream file;
  torch::save(theirs, file);
  {
    const torch::NoGradGuard no_grad;
    p.copy_(q);
  }
  Ours ours(std::vector<Tensor>{p}, ours_options);
  torch::load(ours, file);
  CHECK(ours.param_groups()[0].options().get_lr() == theirs.param_groups()[0].options().get_lr());
  for (int step = 3; step < 6; ++step) {
    set_grad(p, step);
    set_grad(q, step);
    theirs.step();
    ours.step();
    CHECK(torch::allclose(p, q, 0, 1e-14));
  }
}

}  // namespace

TEST_CASE("replace_param grows, shrinks and permutes rows with their moments") {
  for (const std::string& method : method_names()) {
    if (!make_method_options(method)->implementation().rows_may_move()) continue;
    INFO(method);
    for (const bool in_place : {true, false}) {
      Tensor p = leaf({4, 3}, 1);
      const auto optimizer = make(method, p);
      set_grad(p, 0);
      optimizer->step();
      const auto before = held_by(*optimizer);
      // Row 0 is the old row 2, row 1 is new, row 2 is the old row 0, and so on: 6 rows of 4.
      const std::vector<std::int64_t> from{2, -1, 0, 1, -1, -1};
      Tensor next = in_place ? p : torch::ones({6, 3}).requires_grad_(true);
      if (in_place) {
        p.mutable_grad() = Tensor();
        p.set_data(torch::ones({6, 3}));
      }
      optimizer->replace_param(p, next, KeepRows{from});
      CHECK(optimizer->names() == std::vector<std::string>{"w"});
      const auto after = held_by(*optimizer);
      REQUIRE(after.size() == before.size());
      for (const auto& [name, old] : before) {
        INFO(name);
        const Tensor& moved = after.at(name);
        if (name == "w/step" || name == "w/method" || name == "w/numbers") {
          CHECK(torch::equal(moved, old));
          continue;
        }
        REQUIRE(moved.size(0) == 6);
        for (size_t row = 0; row < from.size(); ++row)
          CHECK(torch::equal(moved[static_cast<std::int64_t>(row)],
                             from[row] < 0 ? torch::zeros_like(old[0]) : old[from[row]]));
      }
      set_grad(next, 1);
      optimizer->step();
      CHECK(torch::isfinite(next).all().item<bool>());
      // Pruned to the first two rows.
      const Tensor fewer = next.detach().slice(0, 0, 2).clone().requires_grad_(true);
      const auto grown = held_by(*optimizer);
      optimizer->replace_param(next, fewer);
      for (const auto& [name, old] : grown)
        if (name != "w/step" && name != "w/method" && name != "w/numbers")
          CHECK(torch::equal(held_by(*optimizer).at(name), old.slice(0, 0, 2)));
      set_grad(fewer, 2);
      optimizer->step();
    }
  }
}

TEST_CASE("what replace_param cannot do is refused with nothing changed") {
  const Tensor p = leaf({4, 3}, 1), other = leaf({4, 3}, 2);
  for (const std::string& method : method_names()) {
    INFO(method);
    Optimizer optimizer(Groups{{std::vector<Tensor>{p, other}}}, make_method_options(method),
                        {{"w", p, {}}, {"v", other, {}}});
    set_grad(p, 0);
    set_grad(other, 1);
    optimizer.step();
    optimizer.step();
    const auto before = held_by(optimizer);
    const auto refused = [&](const Tensor& from, const Tensor& to, const KeepRows& rows, const char* says) {
      const std::string said = message_of([&] { optimizer.replace_param(from, to, rows); });
      INFO(said);
      CHECK(said.find(says) != std::string::npos);
      const auto after = held_by(optimizer);
      REQUIRE(after.size() == before.size());
      for (const auto& [name, tensor] : after) CHECK(torch::equal(tensor, before.at(name)));
      CHECK(optimizer.param_groups()[0].params()[0].is_same(p));
    };
    refused(leaf({4, 3}, 3), leaf({4, 3}, 4), {}, "not in the optimizer");
    refused(p, other, {}, "already");
    refused(p, leaf({4, 5}, 3), {}, "w: shape [4,5]; allowed: [4,3] with any number of rows");
    refused(p, leaf({2, 3}, 3), {{0, 4}}, "w: row 4 of the old parameter; allowed: -1 to 3");
    refused(p, leaf({2, 3}, 3), {{0}}, "w: rows are given for 1 rows; allowed: 2");
    refused(p, leaf({4, 3}, 3, torch::kFloat64).to(torch::kInt64), {}, "w: dtype");
    if (!make_method_options(method)->implementation().rows_may_move())
      refused(p, leaf({6, 3}, 3), {}, ("w: the state of " + method + " is not by row").c_str());
    optimizer.reset_state(p);
    const Tensor grown = leaf({6, 3}, 3);
    optimizer.replace_param(p, grown);
    set_grad(grown, 5);
    optimizer.step();
    CHECK(message_of([&] { optimizer.reset_state(p); }).find("not in the optimizer") != std::string::npos);
  }
}

TEST_CASE("a parameter whose state was reset steps as at first") {
  for (const std::string& method : method_names()) {
    INFO(method);
    const Tensor p = leaf({4, 3}, 1);
    const auto optimizer = make(method, p);
    for (int step = 0; step < 3; ++step) {
      set_grad(p, step);
      optimizer->step();
    }
    const Tensor q = p.detach().clone().requires_grad_(true);
    const auto fresh = make(method, q);
    optimizer->reset_state(p);
    CHECK(optimizer->named_state().empty());
    for (int step = 3; step < 6; ++step) {
      set_grad(p, step);
      set_grad(q, step);
      optimizer->step();
      fresh->step();
    }
    CHECK(torch::equal(p, q));
  }
}

TEST_CASE("archives of torch::optim's AdamW, Adam, SGD, RMSprop and Adagrad are read, others refused by name") {
  check_torch_archive<torch::optim::AdamW, AdamW>(
      AdamWOptions(0.5), torch::optim::AdamWOptions(1e-2).betas({0.8, 0.95}).eps(1e-6).weight_decay(0.1));
  check_torch_archive<torch::optim::Adam, Adam>(
      AdamOptions(0.5), torch::optim::AdamOptions(1e-2).betas({0.8, 0.95}).eps(1e-6).weight_decay(0.1));
  check_torch_archive<torch::optim::SGD, SGD>(
      SGDOptions(0.5), torch::optim::SGDOptions(1e-2).momentum(0.9).dampening(0.3).weight_decay(0.1));
  check_torch_archive<torch::optim::SGD, SGD>(SGDOptions(0.5), torch::optim::SGDOptions(1e-2));
  check_torch_archive<torch::optim::AdamW, AdamW>(AdamWOptions(0.5), torch::optim::AdamWOptions(1e-2).amsgrad(true));
  check_torch_archive<torch::optim::RMSprop, RMSprop>(
      RMSpropOptions(0.5), torch::optim::RMSpropOptions(1e-2).momentum(0.9).centered(true).weight_decay(0.1));
  check_torch_archive<torch::optim::RMSprop, RMSprop>(RMSpropOptions(0.5), torch::optim::RMSpropOptions(1e-2));
  check_torch_archive<torch::optim::Adagrad, Adagrad>(
      AdagradOptions(0.5), torch::optim::AdagradOptions(1e-2).lr_decay(0.1).initial_accumulator_value(0.2));
  const Tensor p = leaf({4, 3}, 1);
  const auto refusal = [&](auto theirs, auto&& ours) {
    set_grad(p, 0);
    theirs.step();
    std::stringstream file;
    torch::save(theirs, file);
    return message_of([&] { torch::load(ours, file); });
  };
  const std::vector<Tensor> params{p};
  CHECK(refusal(torch::optim::RMSprop(params), AdamW(params)) ==
        "saved torch::optim optimizer, group 0: is of RMSprop; allowed: adamw");
  CHECK(refusal(torch::optim::Adagrad(params), SGD(params)).find("Adagrad; allowed: sgd") != std::string::npos);
  CHECK(refusal(torch::optim::SGD(params, torch::optim::SGDOptions(0.1)), AdamW(params)).find("SGD; allowed: adamw") !=
        std::string::npos);
}

TEST_CASE("an archive of version 0.1 is read") {
  // Written by version 0.1: its layout, with torch's own writer.
  const Tensor p = leaf({4, 3}, 1), m = leaf({4, 3}, 2).detach(), v = leaf({4, 3}, 3).detach().abs();
  torch::serialize::OutputArchive archive, group(archive.compilation_unit()), fields(archive.compilation_unit()),
      entry(archive.compilation_unit());
  fields.write("lr", c10::IValue(0.25));
  fields.write("initial_lr", c10::IValue(0.5));
  fields.write("weight_decay", c10::IValue(0.125));
  fields.write("decay_target", c10::IValue(1.0));
  fields.write("decay_coupling", c10::IValue(std::string("independent")));
  fields.write("clip", c10::IValue(false));
  fields.write("beta1", c10::IValue(0.75));
  fields.write("beta2", c10::IValue(0.875));
  fields.write("eps", c10::IValue(1e-3));
  entry.write("step", c10::IValue(std::int64_t{7}));
  entry.write("buffers", c10::IValue(std::int64_t{2}));
  entry.write("buffer0", m);
  entry.write("buffer1", v);
  group.write("method", c10::IValue(std::string("adamw")));
  group.write("options", fields);
  group.write("size", c10::IValue(std::int64_t{1}));
  group.write("state0", entry);
  archive.write("format", c10::IValue(std::string("scalevec optimizer 1")));
  archive.write("groups", c10::IValue(std::int64_t{1}));
  archive.write("group0", group);
  std::stringstream file;
  archive.save_to(file);
  AdamW optimizer(std::vector<Tensor>{p}, AdamWOptions(1e-3));
  optimizer.set_max_norm(2.0);
  torch::load(optimizer, file);
  const auto& options = static_cast<AdamWOptions&>(optimizer.param_groups()[0].options());
  CHECK(options == AdamWOptions(0.25)
                       .weight_decay(0.125)
                       .decay_target(1.0)
                       .decay_coupling(DecayCoupling::independent)
                       .clip(false)
                       .betas({0.75, 0.875})
                       .eps(1e-3));
  CHECK(std::as_const(options).initial_lr() == 0.5);
  CHECK(optimizer.max_norm() == 2.0);
  const auto state = held_by(optimizer);
  CHECK(state.at("param.0.0/step").item<std::int64_t>() == 7);
  CHECK(torch::equal(state.at("param.0.0/exp_avg"), m));
  CHECK(torch::equal(state.at("param.0.0/exp_avg_sq"), v));
  SGD other(std::vector<Tensor>{p}, SGDOptions(1e-3));
  file.seekg(0);
  CHECK(message_of([&] { torch::load(other, file); }) ==
        "saved optimizer, group 0: param.0.0 is of method adamw; allowed: sgd");
}

TEST_CASE("options are written and compared as torch::optim's") {
  AdamWOptions a(1e-3);
  a.lr() = 2e-3;
  a.betas() = {0.5, 0.75};
  a.eps() = 1e-6;
  a.weight_decay() = 0.5;
  CHECK(a == AdamWOptions(2e-3).betas({0.5, 0.75}).eps(1e-6).weight_decay(0.5));
  CHECK(!(a == AdamWOptions(2e-3).betas({0.5, 0.75}).eps(1e-6)));
  CHECK(std::get<1>(std::as_const(a).betas()) == 0.75);
  const SGDOptions sgd(2e-3);
  const MethodOptions &one = a, &two = sgd;
  CHECK(!(one == two));
  CHECK(one == static_cast<const MethodOptions&>(*a.clone()));
}

namespace {

// operator new throws once, at allocation number `countdown` from now, on this thread.
thread_local std::int64_t countdown = -1;

bool fails_now() { return countdown >= 0 && countdown-- == 0; }

// LibTorch's CPU allocator with the same.
struct FailingAllocator : c10::Allocator {
  explicit FailingAllocator(c10::Allocator* beneath) : beneath(beneath) {}
  c10::DataPtr allocate(size_t bytes) override {
    if (fails_now()) throw std::bad_alloc();
    return beneath->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return beneath->raw_deleter(); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
  c10::Allocator* beneath;
};

}  // namespace

void* operator new(std::size_t bytes) {
  if (fails_now()) throw std::bad_alloc();
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEST_CASE("a step in which any one allocation fails leaves everything as it was, and the next one is undisturbed") {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  FailingAllocator allocator(c10::GetAllocator(c10::kCPU));
  for (const std::string& method : method_names()) {
    INFO(method);
    const auto build = [&](std::vector<Tensor>& params) {
      // Dense, transposed and with holes.
      params = {leaf({4, 3}, 1), leaf({3, 4}, 2).t().detach().requires_grad_(true),
                leaf({3, 8}, 3).t().slice(0, 0, 8, 2).detach().requires_grad_(true)};
      auto options = make_method_options(method);
      if (method == "sgd") static_cast<SGDOptions&>(*options).momentum(0.9);
      if (method == "soap") static_cast<SOAPOptions&>(*options).precondition_frequency(1);
      // A Newton-Schulz step allocates as the one before it.
      for (const Option& field : options->fields())
        if (field.key == "ns_steps") *std::get<std::int64_t*>(field.value) = 1;
      auto optimizer = std::make_unique<Optimizer>(Groups{{params}}, std::move(options));
      optimizer->set_max_norm(0.5);
      return optimizer;
    };
    for (const int before : {0, 2}) {
      std::vector<Tensor> undisturbed;
      const auto other = build(undisturbed);
      const auto run = [](Optimizer& optimizer, const std::vector<Tensor>& params, int from, int to) {
        for (int step = from; step < to; ++step) {
          for (size_t i = 0; i < params.size(); ++i) set_grad(params[i], 10 * static_cast<size_t>(step) + i);
          optimizer.trace_next_step();
          optimizer.step();
        }
      };
      run(*other, undisturbed, 0, before + 1);
      std::int64_t failures = 0;
      // Until no allocation is left to fail.
      for (std::int64_t at = 0, left = -1; left < 0 && at < 100000; ++at) {
        std::vector<Tensor> params;
        const auto optimizer = build(params);
        run(*optimizer, params, 0, before);
        for (size_t i = 0; i < params.size(); ++i) set_grad(params[i], 10 * static_cast<size_t>(before) + i);
        const auto state = held_by(*optimizer);
        std::vector<Tensor> values;
        for (const Tensor& p : params) values.push_back(p.detach().clone());
        const size_t traces = optimizer->traces().size();
        std::string said;
        optimizer->trace_next_step();
        c10::SetAllocator(c10::kCPU, &allocator, 255);
        countdown = at;
        try {
          optimizer->step();
        } catch (const std::exception& e) {
          said = e.what();
          if (said.empty()) said = "an exception";
        }
        left = countdown;
        countdown = -1;
        c10::SetAllocator(c10::kCPU, allocator.beneath, 255);
        if (!said.empty()) {
          ++failures;
          const auto now = held_by(*optimizer);
          std::string changed;
          if (now.size() != state.size()) changed += " the number of states";
          if (optimizer->traces().size() != traces) changed += " the traces";
          for (const auto& [name, tensor] : now)
            if (!state.count(name) || !torch::equal(tensor, state.at(name))) changed += " " + name;
          for (size_t i = 0; i < params.size(); ++i)
            if (!torch::equal(params[i], values[i])) changed += " parameter " + std::to_string(i);
          INFO("allocation " << at << " of step " << before << ", " << said << "; changed:" << changed);
          REQUIRE(changed.empty());
          optimizer->step();
        }
        CHECK(optimizer->traces().size() == params.size());
        for (size_t i = 0; i < params.size(); ++i) CHECK(torch::equal(params[i], undisturbed[i]));
      }
      CHECK(failures > 10);
    }
  }
  at::set_num_threads(threads);
}
