#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "scalevec/models/scale_vector.hpp"
#include "scalevec/optim/core/param_role.hpp"

namespace scalevec {

// A scale vector γ and the matrices it can be multiplied into, by full name: all of `maps` W ← W diag(γ), or all of
// `rows` W ← diag(γ) W. Both are empty for an output-class scale.
struct ScaleLink {
  std::string scale;  // the parameter that holds γ, δ, log γ or α
  std::vector<std::string> maps;
  std::vector<std::string> rows;
  ScaleVector gamma;
  // Where γ is longer than the columns, it holds one after the other the γ of as many equal blocks of rows.
  // Grouped queries: the columns are heads of `block` elements of which several share one head of γ; 0: one to one.
  std::int64_t block = 0;
  // How it comes to those matrices ("through the attention average"), or why to none; empty where they read it
  // directly.
  std::string via;

  bool folds() const { return !maps.empty() || !rows.empty(); }
  // γ laid out over `size` columns, as `block` says.
  torch::Tensor spread(const torch::Tensor& gamma, std::int64_t size) const;
};

// "input: …" or "output: …" with the matrices or the reason, for tables.
std::string class_reason(const ScaleLink& link);

// What a trainer needs of a model, decoder and toy alike. Parameters enter through add_parameter() only, so that each
// states its role; a parameter's name is its key in named_parameters().
class Model : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;

  // The training loss of step ≥ 0, a scalar to call backward() on. `tokens` is [B, T+1] int64 on the parameters'
  // device; a model that needs no tokens ignores it, and it may be undefined.
  virtual torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) = 0;

  // The part of the last recorded loss() that is no loss on the data, a scalar without gradient; undefined: none.
  virtual torch::Tensor balance_part() const { return {}; }

  virtual bool needs_tokens() const = 0;
  // Token ids are in [0, vocab_size()); 0 for a model that needs no tokens.
  virtual std::int64_t vocab_size() const = 0;

  // Whether a step's work is the same whatever the tokens: what a recorded graph needs.
  virtual bool work_is_fixed() const { return true; }

  // Where each of several processes has a part of the batch: what a training loss counts over the batch (a mixture's
  // load) is passed to `sum`, which adds the other parts to it in place. Every process makes the same calls.
  void set_batch_sum(std::function<void(torch::Tensor&)> sum) { batch_sum_ = std::move(sum); }

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
  // γ made as `options` says: parameters `path`.gamma, or the names of its form. `role` without part; `link` without
  // scale and gamma. Undefined if the options say there is none.
  ScaleVector add_scale_vector(const std::string& path, const GammaOptions& options, std::int64_t size, ParamRole role,
                               ScaleLink link);
  // For a scale that is not made by add_scale_vector(): its parameter is there already.
  void add_scale_link(ScaleLink link) { scale_links_.push_back(std::move(link)); }
  // State that no optimizer moves, under a dotted name; checkpoints and model folders hold it.
  torch::Tensor add_buffer(const std::string& name, const torch::Tensor& value);
  void add_matrix_before_norm(const std::string& name) { before_norm_.push_back(name); }
  const std::function<void(torch::Tensor&)>& batch_sum() const { return batch_sum_; }

 private:
  torch::nn::Module* owner_of(const std::string& name);

  std::map<std::string, ParamRole> roles_;
  std::vector<ScaleLink> scale_links_;
  std::vector<std::string> before_norm_;
  std::function<void(torch::Tensor&)> batch_sum_;
};

}  // namespace scalevec
