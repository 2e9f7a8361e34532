#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "scalevec/optim/core/param_role.hpp"

namespace scalevec {

// A scale vector γ and the full names of the matrices W that read γ ⊙ x, whose columns it multiplies: `W diag(γ)`.
// Empty `maps` for an output-class scale.
struct ScaleLink {
  std::string scale;
  std::vector<std::string> maps;
};

// What a trainer needs of a model, decoder and toy alike. Parameters enter through add_parameter() only, so that each
// states its role; a parameter's name is its key in named_parameters().
class Model : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;

  // The training loss of step ≥ 0, a scalar to call backward() on. `tokens` is [B, T+1] int64 on the parameters'
  // device; a model that needs no tokens ignores it, and it may be undefined.
  virtual torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) = 0;

  virtual bool needs_tokens() const = 0;
  // Token ids are in [0, vocab_size()); 0 for a model that needs no tokens.
  virtual std::int64_t vocab_size() const = 0;

  // Throws std::invalid_argument for a name that is no parameter.
  const ParamRole& role(const std::string& name) const;
  // Throws std::logic_error naming a parameter that was registered without a role.
  void check_roles() const;

  // Every scale vector, in the order of creation.
  const std::vector<ScaleLink>& scale_links() const { return scale_links_; }
  // Matrices whose output is normalised, which the loss sees through their direction only (T9).
  const std::vector<std::string>& matrices_before_norm() const { return before_norm_; }

 protected:
  // Registers `value` under the dotted `name`, making the modules on its path. Throws std::logic_error if the role
  // contradicts itself. The handle stays valid through to(): that swaps a parameter's data, not its identity.
  torch::Tensor add_parameter(const std::string& name, const torch::Tensor& value, const ParamRole& role);
  // The same for a scale vector, noting who reads it.
  torch::Tensor add_scale(const std::string& name, const torch::Tensor& value, const ParamRole& role,
                          std::vector<std::string> maps);
  void add_matrix_before_norm(const std::string& name) { before_norm_.push_back(name); }

 private:
  std::map<std::string, ParamRole> roles_;
  std::vector<ScaleLink> scale_links_;
  std::vector<std::string> before_norm_;
};

}  // namespace scalevec
