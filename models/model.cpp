#include "models/model.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

namespace scalevec::models {

torch::Tensor ScaleLink::spread(const torch::Tensor& value, std::int64_t size) const {
  if (block == 0 || value.size(0) == size) return value;
  return value.view({-1, 1, block}).expand({-1, size / value.size(0), -1}).reshape({size});
}

std::string class_reason(const ScaleLink& link) {
  if (!link.folds()) return "output: " + (link.via.empty() ? std::string("no linear map reads it") : link.via);
  std::string text = "input: ";
  if (!link.via.empty()) text += link.via + ", ";
  text += link.maps.empty() ? "the rows of " : "the columns of ";
  const std::vector<std::string>& matrices = link.maps.empty() ? link.rows : link.maps;
  constexpr size_t kShown = 4;
  for (size_t i = 0; i < std::min(kShown, matrices.size()); ++i) text += (i > 0 ? ", " : "") + matrices[i];
  if (matrices.size() > kShown) text += " and " + std::to_string(matrices.size() - kShown) + " more";
  return text;
}

torch::Tensor Model::sampled_loss(const torch::Tensor&, const torch::Tensor&) {
  throw std::logic_error("sampled_loss() of a model without predictions");
}

const ParamRole& Model::role(const std::string& name) const {
  const auto it = roles_.find(name);
  if (it == roles_.end()) throw std::invalid_argument("no parameter named " + name);
  return it->second;
}

void Model::check_roles() const {
  for (const auto& item : named_parameters())
    if (!roles_.contains(item.key())) throw std::logic_error("parameter " + item.key() + " has no role");
}

// The module at the dotted path of `name` without its last part, made where it is missing.
torch::nn::Module* Model::owner_of(const std::string& name) {
  torch::nn::Module* owner = this;
  std::size_t begin = 0;
  for (std::size_t dot; (dot = name.find('.', begin)) != std::string::npos; begin = dot + 1) {
    const std::string part = name.substr(begin, dot - begin);
    const auto children = owner->named_children();
    const auto* child = children.find(part);
    owner = child ? child->get() : owner->register_module(part, std::make_shared<torch::nn::Module>(part)).get();
  }
  return owner;
}

torch::Tensor Model::add_parameter(const std::string& name, const torch::Tensor& value, const ParamRole& role) {
  if (const std::string error = role_error(role); !error.empty())
    throw std::logic_error("parameter " + name + ": " + error);
  torch::Tensor parameter = owner_of(name)->register_parameter(name.substr(name.rfind('.') + 1), value);
  roles_.emplace(name, role);
  return parameter;
}

torch::Tensor Model::add_buffer(const std::string& name, const torch::Tensor& value) {
  return owner_of(name)->register_buffer(name.substr(name.rfind('.') + 1), value);
}

torch::Tensor Model::add_scale(const std::string& name, const torch::Tensor& value, const ParamRole& role,
                               std::vector<std::string> maps) {
  torch::Tensor parameter = add_parameter(name, value, role);
  ScaleLink link;
  link.scale = name;
  link.maps = std::move(maps);
  link.gamma = ScaleVector(ScaleForm::plain, parameter);
  scale_links_.push_back(std::move(link));
  return parameter;
}

ScaleVector Model::add_scale_vector(const std::string& path, const GammaOptions& options, std::int64_t size,
                                    ParamRole role, ScaleLink link) {
  if (!options.present) return {};
  role.kind = ParamKind::scale;
  role.norm_class = link.folds() ? NormClass::input : NormClass::output;
  const bool split = has_magnitude(options.form);
  role.part = split ? ScalePart::direction : ScalePart::value;
  link.scale = path + "." + ScaleVector::vector_name(options.form);
  torch::Tensor vector = add_parameter(link.scale, ScaleVector::initial_vector(options, size), role);
  torch::Tensor magnitude;
  if (split) {
    role.part = ScalePart::magnitude;
    magnitude = add_parameter(path + "." + ScaleVector::magnitude_name(options.form),
                              ScaleVector::initial_magnitude(options), role);
  }
  link.gamma = ScaleVector(options.form, vector, magnitude);
  scale_links_.push_back(link);
  return link.gamma;
}

}  // namespace scalevec::models
