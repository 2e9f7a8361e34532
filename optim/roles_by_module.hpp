#pragma once

#include <torch/nn/module.h>

#include <string>
#include <utility>
#include <vector>

#include "optim/named_param.hpp"

namespace scalevec {

struct ModuleRoleOptions {
  // Of the scale of a norm. A type does not say what reads the norm's result: `input` is right where only linear maps
  // do (pre-norm), `output` where the residual stream or an attention score does. Torch's TransformerEncoderLayer and
  // TransformerDecoderLayer are post-norm: their own norms are `output` whatever this says.
  NormClass norm_class = NormClass::input;

  // Globs (* and ?) on the parameter's name, and the role of those that match; the first that matches wins over the
  // type. For what a type cannot know: the Linear that maps to the vocabulary, a norm of the other class, a parameter
  // of a module of your own. A role without a site takes the module's path.
  std::vector<std::pair<std::string, ParamRole>> overrides;
};

struct ModuleRoles {
  std::vector<NamedParam> params;      // in the order of named_parameters()
  std::vector<std::string> unclassed;  // names of the parameters that no type and no override gives a role
};

// Roles of the parameters that require a gradient, each once, from the types of the modules that own them; `site` is
// the module's path ("blocks.0.attn"):
//   Embedding, EmbeddingBag                         embedding
//   Linear; RNN, LSTM, GRU and their cells          matrix, bias (row_blocks: 4 gates of an LSTM, 3 of a GRU)
//   MultiheadAttention                              matrix, bias (row_blocks of in_proj_weight: 3)
//   LayerNorm, GroupNorm, BatchNorm, InstanceNorm   scale (value), bias
//   Conv, ConvTranspose, Bilinear                   bias; the weight is no matrix: unclassed
// Unclassed too: PReLU's slopes, MultiheadAttention's bias_k and bias_v (tokens, not biases), all of
// AdaptiveLogSoftmaxWithLoss (its maps to the vocabulary and between are of one type), and parameters of other modules.
// A tensor that several modules share has its first name; an override on any of its names wins, then an Embedding.
// Throws std::invalid_argument naming an override that matches no parameter or whose role contradicts itself.
ModuleRoles roles_by_module(const torch::nn::Module& model, const ModuleRoleOptions& options = {});

}  // namespace scalevec
