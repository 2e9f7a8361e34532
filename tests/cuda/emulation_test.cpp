#include "tests/cuda/emulated_device.hpp"
// After the language it is written in.
#include "optim/cuda/step_kernels.cuh"

#include <limits>

#include "tests/cuda/reference.hpp"
#include "tests/support/catch.hpp"

// The kernels' own source, run by threads of the host, against the double-precision reference.
namespace {

using namespace scalevec;
using namespace scalevec::cuda;
using namespace scalevec::cuda_test;

static_assert(kEmulatedThreads == kThreads);

template <class P>
struct OnHost {
  std::vector<P> param, grad;
  std::vector<StateOf<P>> m, v;
  std::int64_t step = 0;
};

// The tables that MultiTensorStep keeps on a device, and its launches.
template <class P>
struct Emulated {
  std::vector<OnHost<P>> tensors;
  Setting setting;
  StepLimits limits{100.0, true};
  Status status;
  std::vector<StepSums> sums;

  explicit Emulated(const Setting& s) : setting(s), sums(kSizes.size()) {
    for (std::size_t t = 0; t < kSizes.size(); ++t)
      tensors.push_back({normal<P>(kSizes[t], 17 + t), normal<P>(kSizes[t], 1017 + t),
                         std::vector<StateOf<P>>(kSizes[t]), std::vector<StateOf<P>>(kSizes[t])});
  }

  void step(bool with_sums) {
    const std::size_t n = tensors.size();
    status.launches = 0;  // room for one launch's sums
    std::vector<TensorRow> rows;
    std::vector<const void*> grads;
    std::vector<std::int64_t> sizes;
    const GroupOptions options = group_of(setting);
    for (auto& t : tensors) {
      rows.push_back({t.param.data(),
                      {options.held ? t.m.data() : nullptr, t.v.data()},
                      &t.step,
                      static_cast<std::int64_t>(t.param.size()),
                      0,
                      kDtype<P>});
      grads.push_back(t.grad.data());
      sizes.push_back(rows.back().size);
    }
    const auto first = first_units(sizes);
    const auto units = static_cast<std::size_t>(first.back());
    std::vector<double> unit_norms(units), tensor_norms(n), unit_sums(units * kSumCount);
    std::vector<int> unit_finite(units), tensor_finite(n);
    std::vector<Constants> constants(n);
    const View view{static_cast<std::int64_t>(n),
                    &options,
                    rows.data(),
                    grads.data(),
                    first.data(),
                    &limits,
                    unit_norms.data(),
                    unit_finite.data(),
                    tensor_norms.data(),
                    tensor_finite.data(),
                    constants.data(),
                    unit_sums.data(),
                    nullptr,
                    sums.data(),
                    &status};
    const bool norms = limits.check_finite || limits.max_norm > 0.0;
    const auto blocks = static_cast<unsigned>(units), tensors_count = static_cast<unsigned>(n);
    if (norms) emulated_launch(blocks, [&] { norm_kernel(view); });
    if (norms) emulated_launch(tensors_count, [&] { tensor_norm_kernel(view); });
    emulated_launch(1, [&] { setup_kernel(view, norms); });
    for (const StepKernel kernel : step_kernels({options}, Phase::step, with_sums))
      emulated_launch(blocks, [&] { kernel(view); });
    if (with_sums) emulated_launch(tensors_count, [&] { tensor_sums_kernel(view); });
  }
};

template <class P>
void check_steps(const Setting& options, double tolerance) {
  Emulated<P> device(options);
  std::vector<Reference> references;
  double square = 0.0;
  for (const auto& t : device.tensors) {
    references.push_back({widened(t.param), std::vector<double>(t.param.size()), std::vector<double>(t.param.size())});
    for (const double g : widened(t.grad)) square += g * g;
  }
  const double norm = std::sqrt(square);
  for (int t = 1; t <= 3; ++t) {
    device.step(false);
    for (std::size_t k = 0; k < references.size(); ++k)
      references[k].step(options, widened(device.tensors[k].grad), device.limits.max_norm / (norm + 1e-6), t);
  }
  CHECK(std::abs(device.status.grad_norm / norm - 1) <= 1e-12);
  for (std::size_t k = 0; k < references.size(); ++k) {
    INFO("rule " << static_cast<int>(options.rule) << ", tensor " << k);
    CHECK(distance(widened(device.tensors[k].param), references[k].p) <= tolerance);
    CHECK(device.tensors[k].step == 3);
    note_values(sizeof(P), widened(device.tensors[k].param));
  }
}

}  // namespace

TEST_CASE("Three steps of the kernels' source equal a double-precision reference") {
  for (const Setting& o : every_rule()) check_steps<double>(o, 1e-12);
  check_steps<float>(adamw(), 2e-6);
  check_steps<float>(nesterov(), 2e-6);
  // Each of the three stores rounds to 8 bits, of float16 to 11.
  check_steps<Bf16>(adamw(), 3 * 0x1p-8);
  check_steps<F16>(adamw(), 3 * 0x1p-11);
}

TEST_CASE("The kernels' sums equal sums over copies before and after") {
  Emulated<float> device(adamw());
  const auto before = device.tensors;
  device.step(true);
  for (std::size_t k = 0; k < before.size(); ++k) {
    INFO("tensor " << k);
    check_sums(device.sums[k], widened(before[k].param), widened(device.tensors[k].param), widened(before[k].grad));
    double inv = 0.0;
    // After the first step v̂ = (factor·g)².
    const double factor = device.status.clip_factor;
    for (const float g : before[k].grad) inv += 1.0 / (std::abs(factor * g) + adamw().eps);
    CHECK(std::abs(device.sums[k].inv_denom - inv) <= 1e-5 * inv);
  }
}

TEST_CASE("The kernels leave everything alone when a gradient is not finite") {
  for (const float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Emulated<float> device(adamw());
    const auto before = device.tensors;
    device.tensors[3].grad[16384 + 5] = poison;
    device.step(true);
    CHECK(device.status.bad_tensor == 3);
    CHECK(device.status.refused_steps == 1);
    for (std::size_t k = 0; k < before.size(); ++k) {
      CHECK(device.tensors[k].param == before[k].param);
      CHECK(device.tensors[k].m == before[k].m);
      CHECK(device.tensors[k].v == before[k].v);
      CHECK(device.tensors[k].step == 0);
      CHECK(device.sums[k].count == 0);
      CHECK(device.sums[k].grad_sq == 0.0);
    }
    device.tensors[3].grad = before[3].grad;
    device.step(false);
    CHECK(device.status.bad_tensor == -1);
    CHECK(device.status.refused_steps == 1);
    CHECK(device.tensors[4].param != before[4].param);
    CHECK(device.tensors[4].step == 1);
  }
}

TEST_CASE("Normal numbers are those of the host") {
  std::vector<double> out(static_cast<std::size_t>(kPass) + 7, -9.0);
  const auto count = static_cast<std::int64_t>(out.size()) - 1;
  emulated_launch(2, [&] { normals_kernel(out.data(), count, std::uint64_t{5}, std::uint64_t{1} << 40); });
  for (std::size_t i = 0; i + 1 < out.size(); ++i) CHECK(out[i] == random_normal(5, std::uint64_t{1} << 40, i));
  CHECK(out.back() == -9.0);
}

TEST_CASE("The kernels' clip norm does not depend on the order of tensors, and members only count") {
  Emulated<float> forward(adamw()), backward(adamw());
  std::reverse(backward.tensors.begin(), backward.tensors.end());
  forward.step(false);
  backward.step(false);
  CHECK(forward.status.grad_norm == backward.status.grad_norm);
  CHECK(forward.status.clip_factor == backward.status.clip_factor);
  CHECK(forward.status.clip_factor < 1.0);

  Setting outside = adamw();
  outside.clip = false;
  Emulated<float> none(outside);
  none.step(false);
  CHECK(none.status.grad_norm == 0.0);
  CHECK(none.status.clip_factor == 1.0);

  Emulated<float> unchecked(adamw());
  unchecked.limits = {0.0, false};
  unchecked.step(false);
  CHECK(std::isnan(unchecked.status.grad_norm));
  CHECK(unchecked.tensors[4].step == 1);
}

TEST_CASE("The kernels add more units of a tensor than a block has threads") {
  const std::vector<std::int64_t> first{0, 700, 700, 956};
  const std::size_t units = 956, tensors = 3;
  const auto unit_norms = normal<double>(units, 5), unit_sums = normal<double>(units * kSumCount, 6);
  std::vector<double> norms = unit_norms, sums = unit_sums, tensor_norms(tensors);
  std::vector<int> finite(units, 1), tensor_finite(tensors);
  finite[699] = 0;
  const std::vector<TensorRow> rows(tensors);
  const GroupOptions group;
  std::vector<StepSums> tensor_sums(tensors);
  Status status;
  status.launches = 1;
  View view{};
  view.tensors = tensors;
  view.groups = &group;
  view.rows = rows.data();
  view.first_unit = first.data();
  view.unit_norms = norms.data();
  view.unit_finite = finite.data();
  view.tensor_norms = tensor_norms.data();
  view.tensor_finite = tensor_finite.data();
  view.unit_sums = sums.data();
  view.tensor_sums = tensor_sums.data();
  view.status = &status;
  emulated_launch(tensors, [&] { tensor_norm_kernel(view); });
  emulated_launch(tensors, [&] { tensor_sums_kernel(view); });
  CHECK(tensor_finite == std::vector<int>{0, 1, 1});
  for (std::size_t t = 0; t < tensors; ++t) {
    double norm = 0.0, grad_sq = 0.0, inv_denom = 0.0;
    for (auto u = static_cast<std::size_t>(first[t]); u < static_cast<std::size_t>(first[t + 1]); ++u) {
      norm += unit_norms[u];
      grad_sq += unit_sums[u * kSumCount];
      inv_denom += unit_sums[u * kSumCount + 5];
    }
    CHECK(std::abs(tensor_norms[t] - norm) <= 1e-11);
    CHECK(std::abs(tensor_sums[t].grad_sq - grad_sq) <= 1e-11);
    CHECK(std::abs(tensor_sums[t].inv_denom - inv_denom) <= 1e-11);
  }
}
