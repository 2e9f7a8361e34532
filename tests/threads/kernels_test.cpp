#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "optim/core/random.hpp"
#include "optim/kernels/library_rules.hpp"
#include "tests/support/catch.hpp"
#include "tests/threads/threads.hpp"

using namespace scalevec;
using kernels::Dtype;

namespace {

const rules::Decay<double> kDecay{0.5, 0.0, 0.001, 0.0};

struct NamedRule {
  std::string name;
  kernels::Rule rule;
};

// The third step of every method with its default options, with each set of buffers that it may hold, and the passes of
// matrix methods.
std::vector<NamedRule> all_rules() {
  std::vector<NamedRule> rules;
  for_each_type(ElementwiseMethods(), [&]<class M>(std::type_identity<M>) {
    const typename M::Values values;
    const double scalars[kMaxScalars] = {1.0, 1.0, 1.0, 1.0};
    auto step = step_at<M>(values, 1e-2, 3.0, false);
    if constexpr (requires { step.scalars; }) step.scalars = scalars;
    const auto constants = M::constants(values, step);
    for (size_t subset = 0; subset < kSubsets<M>; ++subset) {
      const unsigned held = held_by<M>(subset);
      rules.push_back({M::kName + std::string(" ") + std::to_string(held),
                       kernels::make_rule<M>(kernels::library_loops<M>(held), kDecay, constants)});
    }
  });
  rules.push_back({"momentum", kernels::pass_rule<kernels::MomentumPass>(kDecay, {0.1, 0.9})});
  rules.push_back({"apply", kernels::pass_rule<kernels::ApplyPass>(kDecay, {1e-2})});
  return rules;
}

size_t element_size(Dtype dtype) { return dtype == Dtype::float64 ? 8 : dtype == Dtype::float32 ? 4 : 2; }

// A number of the type near x.
std::uint16_t short_bits(Dtype dtype, float x) {
  kernels::Bf16 b;
  kernels::F16 h;
  kernels::store(b, x);
  kernels::store(h, x);
  return dtype == Dtype::bfloat16 ? b.bits : h.bits;
}

// Tensors of sizes around the unit of work, all in memory of their own.
struct Tensors {
  std::vector<std::vector<std::vector<unsigned char>>> buffers;  // per tensor: param, grad, states
  std::vector<std::vector<std::int16_t>> lows;                   // of each tensor
  std::vector<std::shared_ptr<kernels::Store>> stores;           // likewise
  std::vector<kernels::Job> jobs;

  Tensors(const kernels::Rule& rule, Dtype dtype, kernels::Rounding rounding = kernels::Rounding::nearest) {
    std::uint64_t stream = 0;
    for (const std::int64_t size : {std::int64_t{1}, kernels::kChunk - 1, kernels::kChunk, 2 * kernels::kChunk + 77}) {
      auto& tensor = buffers.emplace_back(2 + kMaxBuffers);
      for (size_t b = 0; b < tensor.size(); ++b) {
        const Dtype stored = b < 2 || dtype == Dtype::float64 ? dtype : Dtype::float32;
        tensor[b].resize(static_cast<size_t>(size) * element_size(stored));
        ++stream;
        for (std::int64_t i = 0; i < size; ++i) {
          const double x =
              0.1 + static_cast<double>((static_cast<std::uint64_t>(i) * 2654435761u + stream * 97) % 1000) / 1000;
          if (stored == Dtype::float64) {
            std::memcpy(&tensor[b][static_cast<size_t>(i) * 8], &x, 8);
          } else {
            const auto f = static_cast<float>(x);
            const std::uint16_t bits = short_bits(stored, f);
            if (stored == Dtype::float32)
              std::memcpy(&tensor[b][static_cast<size_t>(i) * 4], &f, 4);
            else
              std::memcpy(&tensor[b][static_cast<size_t>(i) * 2], &bits, 2);
          }
        }
      }
      jobs.push_back({rule,
                      dtype,
                      tensor[0].data(),
                      tensor[1].data(),
                      {tensor[2].data(), tensor[3].data(), tensor[4].data(), tensor[5].data()},
                      size,
                      stores
                          .emplace_back(std::make_shared<kernels::Store>(
                              kernels::Store{rounding, lows.emplace_back(static_cast<size_t>(size)).data(), stream, 3}))
                          .get()});
    }
  }
};

kernels::ParallelFor threads(int count) {
  return [count](std::int64_t n, const std::function<void(std::int64_t)>& body) { test::on_threads(count, n, body); };
}

}  // namespace

TEST_CASE("the elementwise step and the norms give the same bits on one thread and on four", "[threads]") {
  using kernels::Rounding;
  using Stored = std::pair<Dtype, Rounding>;
  for (const auto& [dtype, rounding] :
       {Stored{Dtype::float32, Rounding::nearest}, Stored{Dtype::float64, Rounding::nearest},
        Stored{Dtype::bfloat16, Rounding::nearest}, Stored{Dtype::bfloat16, Rounding::stochastic},
        Stored{Dtype::bfloat16, Rounding::compensated}, Stored{Dtype::float16, Rounding::nearest},
        Stored{Dtype::float16, Rounding::stochastic}, Stored{Dtype::float16, Rounding::compensated}})
    for (const auto& [name, rule] : all_rules()) {
      INFO(name << ", dtype " << static_cast<int>(dtype) << ", rounding " << static_cast<int>(rounding));
      Tensors one(rule, dtype, rounding), four(rule, dtype, rounding);
      std::vector<StepSums> sums_one(one.jobs.size()), sums_four(one.jobs.size());
      const Tensors before = one;
      kernels::step(one.jobs, sums_one, threads(1));
      kernels::step(four.jobs, sums_four, threads(4));
      CHECK(one.buffers == four.buffers);
      CHECK(one.lows == four.lows);
      CHECK(one.buffers != before.buffers);
      CHECK(std::memcmp(sums_one.data(), sums_four.data(), sizeof(StepSums) * sums_one.size()) == 0);
      kernels::step(one.jobs, {}, threads(1));
      kernels::step(four.jobs, {}, threads(4));
      CHECK(one.buffers == four.buffers);

      std::vector<kernels::GradView> views;
      for (const kernels::Job& job : one.jobs) views.push_back({dtype, job.grad, job.size});
      CHECK(kernels::squared_norms(views, threads(1)) == kernels::squared_norms(views, threads(4)));
    }
}

// Not part of a run without ThreadSanitizer, which must report it: two threads that each make the whole step.
TEST_CASE("planted race in the elementwise step", "[.planted]") {
  Tensors tensors(all_rules()[0].rule, Dtype::float32);
  kernels::step(tensors.jobs, {}, [](std::int64_t n, const std::function<void(std::int64_t)>& body) {
    test::on_threads(2, 2, [&](std::int64_t) {
      for (std::int64_t i = 0; i < n; ++i) body(i);
    });
  });
}
