#include <torch/optim.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <ATen/Parallel.h>

#include <barrier>
#include <cmath>
#include <future>
#include <limits>
#include <map>
#include <sstream>

#include "optim/core/random.hpp"
#include "optim/kernels/element_types.hpp"
#include "optim/optim.hpp"
#include "optim/step_hooks.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/host_tensors.hpp"
#include "tests/support/message.hpp"
#include "tests/support/reference_optimizers.hpp"

// Parameters of bfloat16 and float16: how a new value becomes one of their numbers.
namespace {

using namespace scalevec;
using namespace scalevec::host_tests;
using kernels::Bf16;
using kernels::F16;
using torch::Tensor;
using Groups = std::vector<torch::optim::OptimizerParamGroup>;

constexpr torch::Dtype kShortTypes[] = {torch::kBFloat16, torch::kFloat16};
constexpr const char* kRoundings[] = {"nearest", "stochastic", "compensated"};

template <class P>
float nearest_of(float x) {
  P p;
  kernels::store(p, x);
  return kernels::load(p);
}

// The type of the same numbers in LibTorch.
template <class P>
struct Peer;
template <>
struct Peer<Bf16> {
  using type = c10::BFloat16;
};
template <>
struct Peer<F16> {
  using type = c10::Half;
};

bool same_number(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

// Every number of the type, the middle to the next one, and the floats beside that.
template <class P>
void check_all_numbers() {
  using Theirs = typename Peer<P>::type;
  int wrong = 0;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const P p{static_cast<std::uint16_t>(bits)}, next{static_cast<std::uint16_t>(bits + 1)};
    const float value = static_cast<float>(Theirs(p.bits, Theirs::from_bits()));
    wrong += !same_number(kernels::load(p), value);
    const float middle = 0.5f * value + 0.5f * static_cast<float>(Theirs(next.bits, Theirs::from_bits()));
    for (const float x : {value, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 2.0f * middle)})
      wrong += !same_number(nearest_of<P>(x), static_cast<float>(Theirs(x)));
  }
  CHECK(wrong == 0);
}

// The two numbers of the type beside x, by their bits: the one toward zero first.
template <class P>
std::pair<float, float> neighbours(float x) {
  P p;
  kernels::store(p, x);
  if (std::abs(kernels::load(p)) > std::abs(x)) --p.bits;
  const P up{static_cast<std::uint16_t>(p.bits + 1)};
  return {kernels::load(p), kernels::load(up)};
}

// Of 2^16 equally spaced random numbers, how many take x away from zero; -1 if one goes elsewhere than to a neighbour.
template <class P>
int times_up(float x) {
  const auto [down, up] = neighbours<P>(x);
  int count = 0;
  for (std::uint32_t k = 0; k < 0x10000; ++k) {
    P p;
    kernels::store_stochastic(p, x, k << 16 | 0x8000u);
    const float got = kernels::load(p);
    if (got != down && got != up) return -1;
    count += got == up && up != down;
  }
  return count;
}

template <class P>
void check_chance(float smallest, float largest) {
  for (const float sign : {1.0f, -1.0f})
    for (const float size : {smallest * 3, 1e-3f, 0.7f, 1.0f, 1.99f, 300.0f, largest * 0.4f})
      for (const double fraction : {0.0, 0x1p-12, 0.25, 0.5, 0.75, 1 - 0x1p-12}) {
        const auto [down, up] = neighbours<P>(sign * nearest_of<P>(size));
        const auto x = static_cast<float>(down + fraction * (static_cast<double>(up) - down));
        // The fraction that the float has.
        const double exact = (static_cast<double>(x) - down) / (static_cast<double>(up) - down);
        INFO(x << " between " << down << " and " << up);
        CHECK(std::abs(times_up<P>(x) - exact * 0x10000) <= 1.0);
      }
}

std::unique_ptr<MethodOptions> options_of(const std::string& method, double lr, const std::string& rounding) {
  auto options = make_method_options(method);
  options->set_lr(lr);
  if (method == "soap") static_cast<SOAPOptions&>(*options).precondition_frequency(2);
  if (method == "sgd") static_cast<SGDOptions&>(*options).momentum(0.9);
  for (const auto& field : options->fields())
    if (field.key == "rounding") *std::get<std::string*>(field.value) = rounding;
  return options;
}

std::unique_ptr<Optimizer> make(const std::string& method, const Tensor& p, double lr, const std::string& rounding) {
  return std::make_unique<Optimizer>(Groups{{std::vector<Tensor>{p}}}, options_of(method, lr, rounding),
                                     std::vector<NamedParam>{{"w", p, {}}});
}

Tensor held(const Optimizer& optimizer, const std::string& name) {
  for (const auto& [key, tensor] : optimizer.named_state())
    if (key == name) return tensor;
  return {};
}

// The value that a parameter and its low part stand for, by LibTorch's arithmetic.
Tensor value_of(const Tensor& p, const Tensor& low) {
  if (p.scalar_type() == torch::kBFloat16) {
    const Tensor bits = p.detach().view(torch::kInt16).to(torch::kInt32).bitwise_left_shift(16);
    return (bits + low.to(torch::kInt32)).view(torch::kFloat32).to(torch::kFloat64);
  }
  const Tensor wide = p.detach().to(torch::kFloat64);
  const Tensor exponent = wide.abs().clamp_min(0x1p-14).log2().floor();
  return wide + low.to(torch::kFloat64) * torch::exp2(exponent - 24);
}

constexpr double half_spacing(torch::Dtype dtype) { return dtype == torch::kBFloat16 ? 0x1p-8 : 0x1p-11; }

}  // namespace

TEST_CASE("numbers of bfloat16 and float16 are read and rounded as LibTorch's") {
  check_all_numbers<Bf16>();
  check_all_numbers<F16>();
}

TEST_CASE("stochastic rounding goes to a neighbour with the chance that keeps the mean, and leaves numbers alone") {
  check_chance<Bf16>(9.2e-41f, 3.3e38f);
  check_chance<F16>(5.97e-8f, 65504.0f);
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Bf16 b{static_cast<std::uint16_t>(bits)};
    const F16 h{static_cast<std::uint16_t>(bits)};
    for (const std::uint32_t random : {0u, 0x80000000u, 0xFFFFFFFFu}) {
      Bf16 to_b;
      F16 to_h;
      kernels::store_stochastic(to_b, kernels::load(b), random);
      kernels::store_stochastic(to_h, kernels::load(h), random);
      if (!same_number(kernels::load(to_b), kernels::load(b)) || !same_number(kernels::load(to_h), kernels::load(h)))
        FAIL("bits " << bits);
    }
  }
  // Beyond the largest number to nearest: chance makes nothing infinite.
  F16 h;
  kernels::store_stochastic(h, 65519.0f, 0xFFFFFFFFu);
  CHECK(kernels::load(h) == 65504.0f);
  kernels::store_stochastic(h, 65520.0f, 0u);
  CHECK(std::isinf(kernels::load(h)));
  Bf16 b;
  kernels::store_stochastic(b, 3.3953e38f, 0xFFFFFFFFu);
  CHECK(std::isfinite(kernels::load(b)));
}

TEST_CASE("a float in two parts comes back, and what a program writes to the high part stays within half a spacing") {
  std::uint32_t bits = 12345;
  int wrong = 0;
  for (int i = 0; i < 300000; ++i) {
    bits = bits * 1664525u + 1013904223u;
    const float x = kernels::float_of(bits);
    Bf16 b;
    std::int16_t low;
    kernels::split(b, low, x);
    const float high = kernels::load(b);
    if (std::isfinite(high)) {
      wrong += kernels::joined(b, low) != x;
      wrong += std::abs(static_cast<double>(high) - x) > 0x1p-8 * std::abs(x) + 0x1p-134;
    } else {
      wrong += !same_number(kernels::joined(b, low), high);
    }
    // Of float16's range, down to where it has no number.
    const float y = kernels::float_of((bits & 0x807FFFFFu) | ((100u + bits / 8192 % 43u) << 23));
    F16 h;
    kernels::split(h, low, y);
    const double off = std::abs(static_cast<double>(kernels::joined(h, low)) - y);
    wrong += kernels::load(h) != static_cast<float>(c10::Half(y));
    if (std::isinf(kernels::load(h)))
      wrong += kernels::joined(h, low) != kernels::load(h);
    else
      wrong += off > (std::abs(y) >= 0x1p-14f ? 0.0 : 0x1p-39);
  }
  CHECK(wrong == 0);
  for (const int low : {-0x8000, -1, 1, 0x7FFF}) {
    for (const std::uint16_t written : {0x0000, 0x8000, 0x0001, 0x3F80, 0x7F7F, 0x7F80, 0x7FC0}) {
      const Bf16 b{written};
      const float high = kernels::load(b), got = kernels::joined(b, static_cast<std::int16_t>(low));
      INFO(written << " " << low);
      CHECK((std::isfinite(high) ? std::abs(got - high) <= 0x1p-7f * std::abs(high) + 0x1p-133f
                                 : same_number(got, high)));
    }
    for (const std::uint16_t written : {0x0000, 0x8000, 0x0001, 0x3C00, 0x7BFF, 0x7C00, 0x7E00}) {
      const F16 h{written};
      const float high = kernels::load(h), got = kernels::joined(h, static_cast<std::int16_t>(low / 4));
      INFO(written << " " << low);
      CHECK((std::isfinite(high) ? std::abs(got - high) <= 0x1p-11f * std::abs(high) + 0x1p-25f
                                 : same_number(got, high)));
    }
  }
}

TEST_CASE("one step of every method on bfloat16 and float16 is float32's, rounded", "[elementwise]") {
  for (const std::string& method : method_names())
    for (const auto dtype : kShortTypes) {
      INFO(method << " " << c10::toString(dtype));
      const Tensor p = leaf({40, 30}, 1, dtype), q = p.detach().to(torch::kFloat32).requires_grad_(true);
      const auto one = make(method, p, 1e-2, "nearest"), two = make(method, q, 1e-2, "nearest");
      for (int step = 0; step < 3; ++step) {
        set_grad(p, static_cast<size_t>(step));
        q.mutable_grad() = p.grad().to(torch::kFloat32);
        {
          const torch::NoGradGuard no_grad;
          q.copy_(p);
        }
        one->step();
        two->step();
        CHECK(torch::equal(p, q.to(dtype)));
      }
    }
}

TEST_CASE("weights of 1 in steps of 1e-3 stay under nearest rounding, which the traces say, and move under the others",
          "[elementwise]") {
  for (const std::string& method : method_names())
    for (const auto dtype : kShortTypes) {
      if (method == "prodigy") continue;  // Its lr is its own.
      // Below 1 the numbers of bfloat16 lie 2⁻⁸ apart, those of float16 2⁻¹¹.
      // Of some methods an element may move by more than lr.
      const std::set<std::string> more_than_lr = {"soap", "adafactor", "adam_mini", "kron", "radam", "rmsprop", "asgd"};
      const bool more = more_than_lr.count(method) > 0;
      const double lr = (dtype == torch::kBFloat16 ? 1e-3 : 1e-4) * (more ? 0.125 : 1.0);
      for (const std::string rounding : kRoundings) {
        INFO(method << " " << c10::toString(dtype) << " " << rounding);
        const Tensor p = torch::ones({64, 64}, dtype).requires_grad_(true),
                     q = torch::ones({64, 64}).requires_grad_(true);
        const auto optimizer = make(method, p, lr, rounding), exact = make(method, q, lr, "nearest");
        torch::manual_seed(3);
        p.mutable_grad() = (torch::randn({64, 64}).abs() + 0.5).to(dtype);
        q.mutable_grad() = p.grad().to(torch::kFloat32);
        if (method == "sgd") {
          static_cast<SGDOptions&>(optimizer->param_groups()[0].options()).momentum(0.0);
          static_cast<SGDOptions&>(exact->param_groups()[0].options()).momentum(0.0);
        }
        if (method == "sgd" || method == "schedulefree_sgd") {
          p.grad().fill_(1.0);
          q.grad().fill_(1.0);
        }
        if (method == "rprop")  // whose steps otherwise grow
          for (Optimizer* each : {optimizer.get(), exact.get()})
            static_cast<RpropOptions&>(each->param_groups()[0].options()).etaplus(1.0);
        for (int step = 0; step < 100; ++step) {
          if (step == 99) optimizer->trace_next_step();
          optimizer->step();
          exact->step();
        }
        const double stalled = optimizer->traces()[0].stalled;
        const Tensor wide = p.detach().to(torch::kFloat64), reference = q.detach().to(torch::kFloat64);
        if (rounding == "nearest") {
          CHECK(torch::equal(p, torch::ones({64, 64}, dtype)));
          CHECK(stalled == 1.0);
        } else if (rounding == "compensated") {
          CHECK((wide - reference).abs().max().item<double>() <= half_spacing(dtype) * 1.01);
          CHECK(stalled < 0.01);  // updates that float32 has not either
        } else {
          // Each step adds a variance of at most a quarter of the squared spacing, 2·half_spacing above 1. With a limit
          // of 6 standard deviations of the mean over 4096 elements a true null fails once in 5e8.
          const double deviation = 10.0 * half_spacing(dtype) / std::sqrt(4096.0);
          CHECK(std::abs((wide - reference).mean().item<double>()) <= 6 * deviation);
          CHECK(stalled > 0.0);
          CHECK(stalled < 1.0);
        }
      }
    }
}

TEST_CASE("the mean of stochastic rounding is the value, to five standard deviations") {
  // A true null fails once in 1.7e6, for each of the 10 cases.
  const std::int64_t count = 1 << 20;
  for (const auto dtype : kShortTypes)
    for (const double fraction : {1.0 / 1024, 0.125, 0.5, 0.9, 1023.0 / 1024}) {
      const double spacing = half_spacing(dtype);  // below 1
      const Tensor p = torch::ones({count}, dtype).requires_grad_(true);
      const auto optimizer = make("sgd", p, spacing * fraction, "stochastic");
      p.mutable_grad() = torch::ones({count}, dtype);
      optimizer->trace_next_step();
      optimizer->step();
      const Tensor down = p.detach().to(torch::kFloat64) - 1.0;
      INFO(c10::toString(dtype) << " " << fraction);
      CHECK(torch::logical_or(down == 0, down == -spacing).all().item<bool>());
      const double mean = -down.mean().item<double>() / spacing;
      const double deviation = std::sqrt(fraction * (1 - fraction) / static_cast<double>(count));
      CHECK(std::abs(mean - fraction) <= 5 * deviation);
      CHECK(std::abs(optimizer->traces()[0].stalled - (1 - mean)) <= 1e-12);
    }
}

TEST_CASE("an element's chance is a function of name, step and index, the same in every version", "[elementwise]") {
  const std::int64_t count = 16384 + 3000;
  const Tensor p = torch::ones({count}, torch::kBFloat16).requires_grad_(true);
  const auto optimizer = make("sgd", p, 1e-3, "stochastic");
  p.mutable_grad() = torch::ones({count}, torch::kBFloat16);
  static_cast<SGDOptions&>(optimizer->param_groups()[0].options()).momentum(0.0);
  optimizer->step();
  const Tensor got = p.detach().to(torch::kFloat32);
  int wrong = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto block = static_cast<std::uint64_t>(i / 1024 * 256 + i % 256);
    const std::uint32_t random = random_block(1, stream_of("rounding of w"), block).word[i / 256 % 4];
    // 1 − 1e-3 lies 0.256 of a spacing below 1, and the neighbour away from zero is 1.
    const bool stays = (random >> 16) >= 0x10000 - static_cast<std::uint32_t>(std::lround((1 - 0.256) * 0x10000));
    wrong += got.data_ptr<float>()[i] != (stays ? 1.0f : 1.0f - 0x1p-8f);
  }
  CHECK(wrong <= 2);  // where 1e-3 in float32 tips it
}

TEST_CASE("compensated rounding trains as float32 does, bit for bit", "[elementwise]") {
  for (const std::string& method : method_names())
    for (const auto coupling : {DecayCoupling::l2, DecayCoupling::lr})
      for (const auto dtype : kShortTypes) {
        INFO(method << " " << c10::toString(dtype) << " " << std::string(to_string(coupling)));
        // Away from 0, where float16's low part has fewer places than float32.
        torch::manual_seed(1);
        const Tensor begin = torch::randn({67, 61}, torch::kFloat64);
        const Tensor p = (begin + begin.sign()).to(dtype).requires_grad_(true);
        const Tensor q = p.detach().to(torch::kFloat32).requires_grad_(true);
        const auto one = make(method, p, 1e-4, "compensated"), two = make(method, q, 1e-4, "compensated");
        for (Optimizer* optimizer : {one.get(), two.get()})
          for (const auto& field : static_cast<MethodOptions&>(optimizer->param_groups()[0].options()).fields()) {
            if (const auto* at = std::get_if<EnumValue>(&field.value); at && field.key == "decay_coupling")
              at->set(at->at, static_cast<size_t>(coupling));
            if (field.key == "weight_decay") *std::get<double*>(field.value) = 0.1;
          }
        for (int step = 0; step < 12; ++step) {
          set_grad(p, static_cast<size_t>(step));
          q.mutable_grad() = p.grad().to(torch::kFloat32);
          one->step();
          two->step();
        }
        CHECK(torch::equal(value_of(p, held(*one, "w/low_part")), q.detach().to(torch::kFloat64)));
        // Of a float32 parameter the option says nothing.
        CHECK(!held(*two, "w/low_part").defined());
      }
}

namespace {

reference::Vector doubles(const Tensor& t) {
  const Tensor flat = t.detach().to(torch::kFloat64).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

// The largest error of 300 steps against double precision, in half spacings of the value.
template <class Step>
double worst_error(const std::string& method, const std::string& rounding, torch::Dtype dtype, double lr,
                   Step reference) {
  torch::manual_seed(7);
  const Tensor p = torch::randn({500}, torch::kFloat64).to(dtype).requires_grad_(true);
  Tensor exact = p.detach().to(torch::kFloat64).requires_grad_(true);
  const auto optimizer = make(method, p, lr, rounding);
  double worst = 0;
  for (int step = 0; step < 300; ++step) {
    p.mutable_grad() = (torch::randn({500}, torch::kFloat64) + 0.3).to(dtype);
    exact.mutable_grad() = p.grad().to(torch::kFloat64);
    optimizer->step();
    reference(exact);
    const reference::Vector got = doubles(p), want = doubles(exact);
    for (size_t i = 0; i < got.size(); ++i)
      worst = std::max(worst, (std::abs(got[i] - want[i]) - 2e-6 * std::max(1.0, std::abs(want[i]))) /
                                  (half_spacing(dtype) * std::abs(want[i]) + 0x1p-25));
  }
  return worst;
}

template <class Reference>
auto by(Reference& reference, double lr) {
  return [&reference, lr](Tensor& exact) {
    reference::Vector values = doubles(exact);
    reference.step(values, doubles(exact.grad()), {"lr", 0.0, 0.0, lr, lr});
    const torch::NoGradGuard no_grad;
    exact.copy_(torch::tensor(values, torch::kFloat64));
  };
}

}  // namespace

TEST_CASE("compensated rounding stays within half a spacing of a trajectory in double precision; nearest does not",
          "[elementwise]") {
  const double lr = 1.0 / 4096;  // a power of two, so that a sign method's steps are exact
  for (const auto dtype : kShortTypes)
    for (const std::string rounding : {"nearest", "compensated"}) {
      std::map<std::string, double> worst;
      std::unique_ptr<torch::optim::Optimizer> theirs;
      const auto by_torch = [&](auto make_theirs) {
        theirs.reset();
        return [&theirs, make_theirs](Tensor& exact) {
          if (!theirs) theirs = make_theirs(std::vector<Tensor>{exact});
          theirs->step();
        };
      };
      worst["adamw"] = worst_error("adamw", rounding, dtype, lr, by_torch([&](const std::vector<Tensor>& params) {
                                     return std::make_unique<torch::optim::AdamW>(
                                         params, torch::optim::AdamWOptions(lr).weight_decay(0));
                                   }));
      worst["adam"] = worst_error("adam", rounding, dtype, lr, by_torch([&](const std::vector<Tensor>& params) {
                                    return std::make_unique<torch::optim::Adam>(params, torch::optim::AdamOptions(lr));
                                  }));
      worst["sgd"] =
          worst_error("sgd", rounding, dtype, lr, by_torch([&](const std::vector<Tensor>& params) {
                        return std::make_unique<torch::optim::SGD>(params, torch::optim::SGDOptions(lr).momentum(0.9));
                      }));
      reference::Lion lion;
      worst["lion"] = worst_error("lion", rounding, dtype, lr, by(lion, lr));
      reference::Signum signum;
      worst["signum"] = worst_error("signum", rounding, dtype, lr, by(signum, lr));
      reference::AdEMAMix ademamix;
      worst["ademamix"] = worst_error("ademamix", rounding, dtype, lr, by(ademamix, lr));
      for (const auto& [method, error] : worst) {
        INFO(method << " " << c10::toString(dtype) << " " << rounding << ": " << error);
        if (rounding == "compensated")
          CHECK(error <= 1.001);
        else
          CHECK(error > 3.0);
      }
    }
}

TEST_CASE("any number of threads and any division of the step give the same bits under every rounding",
          "[elementwise]") {
  // Updates the parameters that it owns and leaves the others to whoever has them.
  struct Halves {
    std::barrier<> meet{2};
    std::vector<double> values[2];
  };
  struct Half : StepShard {
    Half(Halves& halves, std::string name) : halves(halves), name(std::move(name)) {}
    bool owns(const std::string& parameter) const override { return parameter == name; }
    void sum(std::span<double> values) override {
      halves.values[name == "b"].assign(values.begin(), values.end());
      halves.meet.arrive_and_wait();
      for (size_t i = 0; i < values.size(); ++i) values[i] = halves.values[0][i] + halves.values[1][i];
      halves.meet.arrive_and_wait();
    }
    void share(const std::vector<std::string>&, const std::vector<Tensor>&) override {}
    Halves& halves;
    std::string name;
  };
  const int threads = at::get_num_threads();
  for (const std::string& method : method_names())
    for (const auto dtype : kShortTypes)
      for (const std::string rounding : kRoundings) {
        INFO(method << " " << c10::toString(dtype) << " " << rounding);
        const std::vector<Tensor> begin{leaf({300, 120}, 1, dtype), leaf({7, 5}, 2, dtype)};
        std::vector<Tensor> grads;
        for (size_t k = 0; k < 6; ++k) grads.push_back(gradient(begin[k % 2], k));
        Halves halves;
        const auto run = [&](int count, const char* owned) {
          std::vector<Tensor> params;
          for (const Tensor& p : begin) params.push_back(p.detach().clone().requires_grad_(true));
          Optimizer optimizer(Groups{{params}}, options_of(method, 1e-3, rounding),
                              {{"a", params[0], {}}, {"b", params[1], {}}});
          if (owned) StepHooks(optimizer).set_shard(std::make_shared<Half>(halves, owned));
          at::set_num_threads(count);
          for (size_t step = 0; step < 3; ++step) {
            params[0].mutable_grad() = grads[2 * step];
            params[1].mutable_grad() = grads[2 * step + 1];
            optimizer.step();
          }
          at::set_num_threads(threads);
          return params;
        };
        const auto one = run(1, nullptr), two = run(2, nullptr);
        auto other = std::async(std::launch::async, [&] { return run(2, "b"); });
        const auto first = run(1, "a"), second = other.get();
        CHECK(torch::equal(one[0], two[0]));
        CHECK(torch::equal(one[1], two[1]));
        CHECK(torch::equal(one[0], first[0]));
        CHECK(torch::equal(one[1], second[1]));
        // Also of what another process writes autograd is told.
        CHECK(first[1]._version() == 3);
      }
}

TEST_CASE("the low part is state: named, saved, let go and begun as the option and the parameter's type say") {
  const Tensor p = leaf({6, 4}, 1, torch::kBFloat16);
  const auto optimizer = make("adamw", p, 1e-3, "compensated");
  auto& options = static_cast<AdamWOptions&>(optimizer->param_groups()[0].options());
  const auto step = [&](std::uint64_t k) {
    set_grad(p, k);
    optimizer->step();
  };
  step(0);
  const Tensor low = held(*optimizer, "w/low_part").clone();
  CHECK(low.scalar_type() == torch::kInt16);
  CHECK(low.abs().max().item<std::int64_t>() > 0);
  // Into an optimizer of the same rounding, and of another, which lets it go at its next step.
  for (const std::string rounding : kRoundings) {
    const Tensor q = p.detach().clone().requires_grad_(true);
    const auto other = make("adamw", q, 1e-3, rounding);
    other->load_named_state(optimizer->named_state());
    CHECK(torch::equal(held(*other, "w/low_part"), low));
    set_grad(q, 1);
    other->step();
    CHECK(held(*other, "w/low_part").defined() == (rounding == "compensated"));
  }
  std::stringstream file;
  torch::save(*optimizer, file);
  const Tensor r = p.detach().clone().requires_grad_(true);
  const auto loaded = make("adamw", r, 1e-3, "nearest");
  torch::load(*loaded, file);
  CHECK(std::as_const(static_cast<AdamWOptions&>(loaded->param_groups()[0].options())).rounding() == "compensated");
  set_grad(r, 1);
  loaded->step();
  step(1);
  CHECK(torch::equal(p, r));

  options.rounding("nearest");
  step(2);
  CHECK(!held(*optimizer, "w/low_part").defined());
  options.rounding("compensated");
  step(3);
  CHECK(held(*optimizer, "w/low_part").defined());
  CHECK(held(*optimizer, "w/step").item<std::int64_t>() == 4);
  // Values that the program writes are its own.
  {
    const torch::NoGradGuard no_grad;
    p.zero_();
  }
  step(4);
  CHECK(torch::isfinite(p).all().item<bool>());
  CHECK(p.detach().abs().max().item<double>() <= 2e-3);
  Tensor wide = p;
  wide.mutable_grad() = Tensor();
  wide.set_data(p.detach().to(torch::kFloat32));
  step(5);
  CHECK(!held(*optimizer, "w/low_part").defined());
  options.rounding("up");
  set_grad(p, 6);
  CHECK(message_of([&] { optimizer->step(); }) ==
        "parameter group 0: rounding: got up; allowed: nearest, stochastic, compensated");
}

TEST_CASE("a policy's JSON takes the rounding of a rule, and its words say it") {
  const auto text = [](const char* word) {
    return R"({"lr": 0.1, "rules": [{"match": {}, "method": "sgd", "rounding": ")" + std::string(word) + "\"}]}";
  };
  const RolePolicy policy = RolePolicy::from_json(text("stochastic"));
  CHECK(policy.rules[0].options->rounding() == "stochastic");
  const Tensor p = leaf({3}, 1, torch::kBFloat16);
  CHECK(describe(policy, policy.resolve({{"w", p, {}}})).find("stochastic rounding") != std::string::npos);
  const std::string said = message_of([&] { RolePolicy::from_json(text("up")); });
  CHECK(said.find("rounding: got \"up\"; allowed: nearest, stochastic, compensated") != std::string::npos);
}

TEST_CASE("rows that replace_param moves take their low parts along") {
  const Tensor p = leaf({5, 3}, 1, torch::kFloat16);
  const auto optimizer = make("lion", p, 1e-4, "compensated");
  set_grad(p, 0);
  optimizer->step();
  const Tensor low = held(*optimizer, "w/low_part").clone();
  const Tensor q = torch::cat({p.detach()[3].unsqueeze(0), torch::zeros({1, 3}, torch::kFloat16)}).requires_grad_(true);
  optimizer->replace_param(p, q, KeepRows{{3, -1}});
  CHECK(torch::equal(held(*optimizer, "w/low_part"), torch::stack({low[3], torch::zeros_like(low[3])})));
  set_grad(q, 1);
  optimizer->step();
}

TEST_CASE("stalled is the share of 16-bit elements whose update is not zero and that are as they were") {
  const Tensor p = torch::ones({10}, torch::kBFloat16).requires_grad_(true), q = torch::ones({10}).requires_grad_(true);
  Optimizer optimizer(Groups{{std::vector<Tensor>{p, q}}}, std::make_unique<SGDOptions>(1.0));
  // No update; updates below float32's spacing, below bfloat16's, and above it.
  const Tensor g = torch::tensor({0.0, 0.0, 1e-12, 1e-12, 1e-3, 1e-3, 1e-3, 0.5, 0.5, 0.5});
  p.mutable_grad() = g.to(torch::kBFloat16);
  q.mutable_grad() = g.to(torch::kFloat32);
  optimizer.trace_next_step();
  optimizer.step();
  CHECK(optimizer.traces()[0].stalled == 0.5);
  CHECK(std::isnan(optimizer.traces()[1].stalled));
  CHECK(optimizer.group_traces()[0].stalled == 0.5);
  static_cast<SGDOptions&>(optimizer.param_groups()[0].options()).rounding("compensated");
  optimizer.trace_next_step();
  optimizer.step();
  // Of the two smallest, float32 has nothing either.
  CHECK(optimizer.traces()[0].stalled == 0.2);
}
