#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "optim/method.hpp"
#include "optim/optim.hpp"
#include "tests/support/reference_methods.hpp"

// The elementwise methods with random options, for the library and for tests/support/reference_methods.hpp.
namespace scalevec::random_methods {

inline constexpr DecayCoupling kCouplings[] = {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent,
                                               DecayCoupling::lr2};

inline std::vector<std::string> elementwise_methods() {
  std::vector<std::string> names;
  for (const std::string& name : method_names())
    if (dynamic_cast<const ElementwiseMethod*>(&make_method_options(name)->implementation())) names.push_back(name);
  return names;
}

using Random = std::mt19937_64;
inline double uniform(Random& random, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(random);
}
inline double power_of_ten(Random& random, double low, double high) {
  return std::pow(10.0, uniform(random, low, high));
}

// A value of the option's range, ends included: [0, 1) up to 1 − 1e-4, others up to 3 above their least.
inline void set_coupling(const Option& field, DecayCoupling coupling) {
  const EnumValue& at = std::get<EnumValue>(field.value);
  at.set(at.at, static_cast<std::size_t>(coupling));
}

inline double drawn(Random& random, const Option& field) {
  const bool edge = uniform(random, 0, 1) < 0.15;
  if (field.range.high_open)
    return edge ? 0.0 : uniform(random, 0, 1) < 0.3 ? 1.0 - power_of_ten(random, -4, -1) : uniform(random, 0, 1);
  if (std::isinf(field.range.low)) return edge ? 0.0 : uniform(random, -2, 2);
  const double beyond = edge ? 0.0 : power_of_ten(random, -8, 0.5);
  return std::isinf(field.range.high) ? field.range.low + beyond : uniform(random, field.range.low, field.range.high);
}

// A method's own options, drawn again while the method has no such combination.
inline std::unique_ptr<MethodOptions> random_options(Random& random, const std::string& method) {
  while (true) {
    auto options = make_method_options(method);
    double centered = 0.0;
    for (const Option& field : options->own_fields()) {
      if (auto* number = std::get_if<double*>(&field.value)) **number = drawn(random, field);
      if (auto* count = std::get_if<std::int64_t*>(&field.value))
        **count = static_cast<std::int64_t>(uniform(random, field.range.low, 60));
      if (auto* on = std::get_if<bool*>(&field.value)) {
        **on = uniform(random, 0, 1) < 0.5;
        if (field.key == "centered") centered = **on;
      }
    }
    // A variance of few gradients is a small difference of large numbers.
    if (centered != 0.0)
      for (const Option& field : options->fields())
        if (field.key == "alpha") **std::get_if<double*>(&field.value) = uniform(random, 0.5, 1);
    if (options->error().empty()) return options;
  }
}

inline reference::Options as_reference(MethodOptions& options) {
  reference::Options out;
  for (const Option& field : options.fields()) {
    if (const auto* number = std::get_if<double*>(&field.value)) out[field.key] = **number;
    if (const auto* count = std::get_if<std::int64_t*>(&field.value)) out[field.key] = static_cast<double>(**count);
    if (const auto* on = std::get_if<bool*>(&field.value)) out[field.key] = **on ? 1.0 : 0.0;
  }
  return out;
}

inline void set_shared(MethodOptions& options, double lr, double weight_decay, DecayCoupling coupling, double target) {
  options.set_lr(lr);
  for (const Option& field : options.fields()) {
    const std::string_view name = field.key;
    if (name == "weight_decay") *std::get<double*>(field.value) = weight_decay;
    if (name == "decay_target") *std::get<double*>(field.value) = target;
    if (name == "decay_coupling") set_coupling(field, coupling);
  }
}

inline reference::Vector doubles_of(const torch::Tensor& t) {
  const torch::Tensor flat = t.detach().to(torch::kFloat64).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

}  // namespace scalevec::random_methods
