#include "scalevec/models/model.hpp"

#include <torch/torch.h>

#include <memory>
#include <stdexcept>
#include <utility>

namespace scalevec {

const ParamRole& Model::role(const std::string& name) const {
  const auto it = roles_.find(name);
  if (it == roles_.end()) throw std::invalid_argument("no parameter named " + name);
  return it->second;
}

void Model::check_roles() const {
  for (const auto& item : named_parameters())
    if (!roles_.contains(item.key())) throw std::logic_error("parameter " + item.key() + " has no role");
}

torch::Tensor Model::add_parameter(const std::string& name, const torch::Tensor& value, const ParamRole& role) {
  if (const std::string error = role_error(role); !error.empty())
    throw std::logic_error("parameter " + name + ": " + error);
  torch::nn::Module* owner = this;
  std::size_t begin = 0;
  for (std::size_t dot; (dot = name.find('.', begin)) != std::string::npos; begin = dot + 1) {
    const std::string part = name.substr(begin, dot - begin);
    const auto children = owner->named_children();
    const auto* child = children.find(part);
    owner = child ? child->get() : owner->register_module(part, std::make_shared<torch::nn::Module>(part)).get();
  }
  torch::Tensor parameter = owner->register_parameter(name.substr(begin), value);
  roles_.emplace(name, role);
  return parameter;
}

torch::Tensor Model::add_scale(const std::string& name, const torch::Tensor& value, const ParamRole& role,
                               std::vector<std::string> maps) {
  torch::Tensor parameter = add_parameter(name, value, role);
  scale_links_.push_back({name, std::move(maps)});
  return parameter;
}

}  // namespace scalevec
