#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <functional>
#include <string>
#include <vector>

#include "optim/core/param_role.hpp"

namespace scalevec {

// A parameter with the name under which traces, messages and saved state have it. A name is one parameter's only.
struct NamedParam {
  std::string name;
  torch::Tensor tensor;
  ParamRole role;
};

// The role of the parameter `name` of a module, as named_parameters() calls it.
using RoleOf = std::function<ParamRole(const std::string& name, const torch::Tensor& tensor)>;

// The parameters of `module` that require a gradient, each once (a tied tensor under its first name), with the role
// that `role_of` states. Throws std::invalid_argument naming a parameter whose role contradicts itself.
std::vector<NamedParam> named_params(const torch::nn::Module& module, const RoleOf& role_of);

}  // namespace scalevec
