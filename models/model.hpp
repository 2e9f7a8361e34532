#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "models/scale_vector.hpp"
#include "optim/core/param_role.hpp"

namespace scalevec::models {

// A scale vector γ and the matrices that it can be multiplied into, by full name: W ← W diag(γ) for all of `maps`, or W
// ← diag(γ) W for all of `rows`. Both are empty for an output-class scale vector.
struct ScaleLink {
  std::string scale;  // the parameter that holds γ, δ, log γ or α
  std::vector<std::string> maps;
  std::vector<std::string> rows;
  ScaleVector gamma;
  // If γ is longer than the number of columns, γ consists of one part after another for equal blocks of rows. `block` >
  // 0: grouped queries; the columns are heads of `block` elements, and several of them share one head of γ. 0: element
  // j of γ belongs to column j.
  std::int64_t block = 0;
  // How γ reaches those matrices ("through the attention average"), or why it reaches none; empty if they read it
  // directly.
  std::string via;

  bool folds() const { return !maps.empty() || !rows.empty(); }
  // γ laid out over `size` columns, according to `block`.
  torch::Tensor spread(const torch::Tensor& gamma, std::int64_t size) const;
};

// "input: …" with the matrices, or "output: …" with the reason; for tables.
std::string class_reason(const ScaleLink& link);

// What a trainer needs from a model, for decoders and toys. Parameters are added only through add_parameter(), so each
// has a role. The name of a parameter is its key in named_parameters().
class Model : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;

  // The training loss at step ≥ 0: a scalar on which backward() can be called. `tokens` is [B, T+1] int64 on the device
  // of the parameters. A model that needs no tokens ignores it, and it may be undefined.
  virtual torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) = 0;

  // The mean loss on labels drawn from the model's own predictions at `tokens` [B, T+1], whose targets are not read:
  // the label of a position is the first whose cumulative probability exceeds its number in `uniform` [B, T], float64
  // in (0, 1) on the same device. Nothing flows back through the draw. std::logic_error from a model without
  // predictions.
  virtual torch::Tensor sampled_loss(const torch::Tensor& tokens, const torch::Tensor& uniform);

  // The part of the last recorded loss() that is not a loss on the data: a scalar without gradient; undefined if there
  // is none.
  virtual torch::Tensor balance_part() const { return {}; }

  virtual bool needs_tokens() const = 0;
  // Token ids must be in [0, vocab_size()); 0 for a model that needs no tokens.
  virtual std::int64_t vocab_size() const = 0;

  // Whether the operations of a step on the device of the parameters do not depend on the tokens, as a recorded CUDA
  // graph requires.
  virtual bool work_is_fixed() const { return true; }

  // For several processes with a part of the batch each. What a training loss counts over the batch (the load of a
  // mixture) is passed to `sum`, which adds the other parts to it in place. Every process makes the same calls.
  void set_batch_sum(std::function<void(torch::Tensor&)> sum) { batch_sum_ = std::move(sum); }

  // The role of a parameter. Throws std::invalid_argument if there is no parameter of this name.
  const ParamRole& role(const std::string& name) const;
  // Throws std::logic_error with the name of a parameter that was registered without a role.
  void check_roles() const;

  // All scale vectors, in the order of creation.
  const std::vector<ScaleLink>& scale_links() const { return scale_links_; }
  // Names of the matrices whose output is normalised. The loss depends only on their direction (T9 in docs/theory.md).
  const std::vector<std::string>& matrices_before_norm() const { return before_norm_; }

 protected:
  // Registers `value` under the dotted `name` and creates the modules on its path. Returns a handle that stays valid
  // after to(), which replaces a parameter's data and not its identity. Throws std::logic_error if the role contradicts
  // itself.
  torch::Tensor add_parameter(const std::string& name, const torch::Tensor& value, const ParamRole& role);
  // The same for a scale vector; `maps` are the matrices that read it.
  torch::Tensor add_scale(const std::string& name, const torch::Tensor& value, const ParamRole& role,
                          std::vector<std::string> maps);
  // Adds the parameters of a γ [size] in the form that `options` gives: `path`.gamma, or the names of its form. `role`
  // is given without part, `link` without scale and gamma. Returns an undefined ScaleVector if the options say that
  // there is none.
  ScaleVector add_scale_vector(const std::string& path, const GammaOptions& options, std::int64_t size, ParamRole role,
                               ScaleLink link);
  // For a scale vector whose parameter was added in another way.
  void add_scale_link(ScaleLink link) { scale_links_.push_back(std::move(link)); }
  // Adds state that no optimizer changes, under a dotted name. Checkpoints and model folders contain it.
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

}  // namespace scalevec::models
