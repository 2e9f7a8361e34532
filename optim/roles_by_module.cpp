#include "optim/roles_by_module.hpp"

#include <torch/nn/modules.h>

#include <map>
#include <optional>
#include <stdexcept>

#include "optim/role_policy.hpp"

namespace scalevec {
namespace {

namespace nn = torch::nn;

template <class... Types>
bool is_any(const nn::Module& module) {
  return ((dynamic_cast<const Types*>(&module) != nullptr) || ...);
}

bool is_norm(const nn::Module& m) {
  return is_any<nn::LayerNormImpl, nn::GroupNormImpl, nn::BatchNorm1dImpl, nn::BatchNorm2dImpl, nn::BatchNorm3dImpl,
                nn::InstanceNorm1dImpl, nn::InstanceNorm2dImpl, nn::InstanceNorm3dImpl>(m);
}

bool is_conv(const nn::Module& m) {
  return is_any<nn::Conv1dImpl, nn::Conv2dImpl, nn::Conv3dImpl, nn::ConvTranspose1dImpl, nn::ConvTranspose2dImpl,
                nn::ConvTranspose3dImpl>(m);
}

bool is_recurrent(const nn::Module& m) {
  return is_any<nn::RNNImpl, nn::LSTMImpl, nn::GRUImpl, nn::RNNCellImpl, nn::LSTMCellImpl, nn::GRUCellImpl>(m);
}

// Of the module's own parameter called `name`.
std::optional<ParamKind> kind_by_type(const nn::Module& m, const std::string& name) {
  const bool weight = name == "weight";
  const bool bias = name == "bias";
  if (weight && is_any<nn::EmbeddingImpl, nn::EmbeddingBagImpl>(m)) return ParamKind::embedding;
  if (weight && is_any<nn::LinearImpl>(m)) return ParamKind::matrix;
  if (weight && is_norm(m)) return ParamKind::scale;
  if (bias && (is_any<nn::LinearImpl, nn::BilinearImpl>(m) || is_norm(m) || is_conv(m))) return ParamKind::bias;
  if (is_recurrent(m)) {
    if (name.starts_with("weight_")) return ParamKind::matrix;
    if (name.starts_with("bias_")) return ParamKind::bias;
  }
  if (is_any<nn::MultiheadAttentionImpl>(m)) {
    if (name.ends_with("proj_weight")) return ParamKind::matrix;
    if (name == "in_proj_bias") return ParamKind::bias;
  }
  return std::nullopt;
}

// How many maps a matrix of this type stacks in its rows: Q, K and V, or the gates of a recurrent cell.
std::int64_t row_blocks_by_type(const nn::Module& m, const std::string& name) {
  if (name == "in_proj_weight") return 3;
  if (!name.starts_with("weight_ih") && !name.starts_with("weight_hh")) return 1;
  if (is_any<nn::LSTMImpl, nn::LSTMCellImpl>(m)) return 4;
  if (is_any<nn::GRUImpl, nn::GRUCellImpl>(m)) return 3;
  return 1;
}

// Of a matrix that makes queries or keys, or both and values: the rows of a head.
std::int64_t head_dim_by_type(const nn::Module& m, const std::string& name) {
  const auto* attention = dynamic_cast<const nn::MultiheadAttentionImpl*>(&m);
  const bool heads = name == "in_proj_weight" || name == "q_proj_weight" || name == "k_proj_weight";
  return attention && heads ? attention->head_dim : 0;
}

class Walk {
 public:
  explicit Walk(const ModuleRoleOptions& options)
      : options_(options), override_used_(options.overrides.size(), false) {}

  void visit(const nn::Module& module, const std::string& path, NormClass norm_class, bool types_tell) {
    types_tell = types_tell && !is_any<nn::AdaptiveLogSoftmaxWithLossImpl>(module);
    for (const auto& item : module.named_parameters(/*recurse=*/false)) {
      if (!item.value().requires_grad()) continue;
      const std::string name = path.empty() ? item.key() : path + "." + item.key();
      std::optional<ParamRole> role = role_by_override(name);
      const bool overridden = role.has_value();
      if (!role && types_tell) role = role_by_type(module, item.key(), norm_class);
      if (role && role->site.empty()) role->site = path;
      add({name, item.value(), std::move(role), overridden});
    }
    if (is_any<nn::TransformerEncoderLayerImpl, nn::TransformerDecoderLayerImpl>(module))
      norm_class = NormClass::output;
    for (const auto& child : module.named_children())
      visit(*child.value(), path.empty() ? child.key() : path + "." + child.key(), norm_class, types_tell);
  }

  ModuleRoles result() const {
    for (size_t i = 0; i < override_used_.size(); ++i)
      if (!override_used_[i])
        throw std::invalid_argument("overrides: \"" + options_.overrides[i].first +
                                    "\" matches no parameter that an earlier one leaves");
    ModuleRoles out;
    for (const Entry& entry : entries_) {
      if (!entry.role) {
        out.unclassed.push_back(entry.name);
        continue;
      }
      const std::string error = role_error(*entry.role);
      if (!error.empty()) throw std::invalid_argument("overrides: " + entry.name + ": " + error);
      out.params.push_back({entry.name, entry.tensor, *entry.role});
    }
    return out;
  }

 private:
  struct Entry {
    std::string name;
    torch::Tensor tensor;
    std::optional<ParamRole> role;
    bool overridden;
  };

  std::optional<ParamRole> role_by_override(const std::string& name) {
    for (size_t i = 0; i < options_.overrides.size(); ++i) {
      if (!glob_match(options_.overrides[i].first, name)) continue;
      override_used_[i] = true;
      return options_.overrides[i].second;
    }
    return std::nullopt;
  }

  static std::optional<ParamRole> role_by_type(const nn::Module& module, const std::string& name,
                                               NormClass norm_class) {
    const std::optional<ParamKind> kind = kind_by_type(module, name);
    if (!kind) return std::nullopt;
    ParamRole role;
    role.kind = *kind;
    if (*kind == ParamKind::scale) {
      role.norm_class = norm_class;
      role.side = norm_class == NormClass::input ? ScaleSide::before : ScaleSide::after;
      role.part = ScalePart::value;
    }
    if (*kind == ParamKind::matrix) {
      role.row_blocks = row_blocks_by_type(module, name);
      role.head_dim = head_dim_by_type(module, name);
    }
    return role;
  }

  void add(Entry entry) {
    const auto [found, is_new] = index_.emplace(entry.tensor.unsafeGetTensorImpl(), entries_.size());
    if (is_new) {
      entries_.push_back(std::move(entry));
      return;
    }
    Entry& first = entries_[found->second];
    if (!entry.role || first.overridden) return;
    if (!first.role || entry.overridden || entry.role->kind == ParamKind::embedding) {
      first.role = std::move(entry.role);
      first.overridden = entry.overridden;
    }
  }

  const ModuleRoleOptions& options_;
  std::vector<bool> override_used_;
  std::vector<Entry> entries_;
  std::map<const void*, size_t> index_;
};

}  // namespace

ModuleRoles roles_by_module(const torch::nn::Module& model, const ModuleRoleOptions& options) {
  if (options.norm_class == NormClass::none)
    throw std::invalid_argument("norm_class: got none; allowed: input, output");
  Walk walk(options);
  walk.visit(model, "", options.norm_class, true);
  return walk.result();
}

}  // namespace scalevec
