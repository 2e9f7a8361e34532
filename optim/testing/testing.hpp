#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "optim/own_method.hpp"

// What a method must withstand inside a program that moves, grows, renames, saves and frees things between two steps.
namespace scalevec::testing {

using MakeOptions = std::function<std::unique_ptr<MethodOptions>()>;

// Every program that changes parameters, groups or archives, over contiguous and other tensors; a line per failure:
// "PROGRAM, LAYOUT: what went wrong".
std::vector<std::string> check_host_with(const MakeOptions& options);

// Every program that looks at a step's numbers; a line per failure.
std::vector<std::string> check_steps_with(const MakeOptions& options);

template <class Options>
std::vector<std::string> check_host(const Options& options = Options(1e-2)) {
  return check_host_with([options] { return std::make_unique<Options>(options); });
}

}  // namespace scalevec::testing

namespace scalevec {

// Every program over a method, which is registered first; a line per failure.
template <class M>
std::vector<std::string> check_method(const OptionsOf<M>& options = OptionsOf<M>(1e-2)) {
  register_method<M>();
  std::vector<std::string> failures = testing::check_host(options);
  for (std::string& failure : testing::check_steps_with([options] { return std::make_unique<OptionsOf<M>>(options); }))
    failures.push_back(std::move(failure));
  return failures;
}

}  // namespace scalevec
