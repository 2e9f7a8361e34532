#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <set>

#include "scalevec/optim/method.hpp"
#include "scalevec/optim/optimizer.hpp"

// Which parameters an optimizer has, by which names, and whether their methods can train them.
namespace scalevec {

using torch::Tensor;

kernels::Dtype kernel_dtype(const Tensor& param, const std::string& name) {
  switch (param.scalar_type()) {
    case torch::kFloat32:
      return kernels::Dtype::float32;
    case torch::kFloat64:
      return kernels::Dtype::float64;
    case torch::kBFloat16:
      return kernels::Dtype::bfloat16;
    default:
      throw std::invalid_argument(name + ": dtype " + std::string(c10::toString(param.scalar_type())) +
                                  "; allowed: float32, float64, bfloat16");
  }
}

std::string shape_error(const MethodOptions& options, c10::IntArrayRef sizes, std::int64_t row_blocks) {
  if (!dynamic_cast<const MatrixMethod*>(&options.implementation())) return {};
  const std::string method(options.method()), shape = shape_text(sizes);
  if (sizes.size() != 2) return "shape " + shape + ": " + method + " trains matrices only";
  if (row_blocks < 1 || sizes[0] % row_blocks != 0)
    return "shape " + shape + ": its rows are not " + std::to_string(row_blocks) + " equal blocks";
  return {};
}

Optimizer::Optimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups,
                     std::unique_ptr<MethodOptions> defaults, const std::vector<NamedParam>& names)
    : torch::optim::Optimizer(groups, std::move(defaults)) {
  set_names(names);
  check_layout();
}

Optimizer::Identity Optimizer::identity(const Tensor& param) const {
  const auto it = identities_.find(param.unsafeGetTensorImpl());
  return it != identities_.end() ? it->second : Identity{};
}

std::string Optimizer::name_of(const Tensor& param, size_t group, size_t index) const {
  const auto it = identities_.find(param.unsafeGetTensorImpl());
  return it != identities_.end() ? it->second.name : "param." + std::to_string(group) + "." + std::to_string(index);
}

void Optimizer::set_names(const std::vector<NamedParam>& params) {
  for (const NamedParam& p : params)
    identities_[p.tensor.unsafeGetTensorImpl()] = {p.name, trace_group(p.role), p.role.row_blocks};
  checked_layout_.clear();
}

// The base class's add_param_group accepts anything, and groups are open to everyone: they are checked here whenever
// they hold other parameters or options than at the last check.
void Optimizer::check_layout() {
  std::vector<const void*> layout;
  bool captured = true;
  for (const auto& group : param_groups_) {
    layout.push_back(&group.options());
    captured = captured && method_options(group).initial_lr() >= 0.0;
    for (const Tensor& param : group.params()) layout.push_back(param.unsafeGetTensorImpl());
  }
  if (captured && layout == checked_layout_) return;
  std::set<const void*> seen;
  std::vector<Entry> entries;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    MethodOptions& options = method_options(param_groups_[g]);
    const std::string error = options.error();
    if (!error.empty()) throw std::invalid_argument("parameter group " + std::to_string(g) + ": " + error);
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      if (!param.defined())
        throw std::invalid_argument("parameter " + std::to_string(i) + " of group " + std::to_string(g) +
                                    " is undefined");
      std::string name = name_of(param, g, i);
      if (!seen.insert(param.unsafeGetTensorImpl()).second)
        throw std::invalid_argument(name + ": the same parameter is in the optimizer twice");
      if (param.is_sparse() || param.is_complex())
        throw std::invalid_argument(name + ": sparse and complex parameters are not supported");
      kernel_dtype(param, name);
      Identity known = identity(param);
      const std::string misfit = shape_error(options, param.sizes(), known.row_blocks);
      if (!misfit.empty()) throw std::invalid_argument(name + ": " + misfit);
      const bool matrix = dynamic_cast<const MatrixMethod*>(&options.implementation()) != nullptr;
      entries.push_back({param, &options, matrix, std::move(name), std::move(known.group), known.row_blocks});
    }
    if (options.initial_lr() < 0.0) options.set_initial_lr(options.lr());
  }
  checked_layout_ = std::move(layout);
  entries_ = std::move(entries);
}

void Optimizer::set_lr_factor(double factor) {
  check_layout();
  for (auto& group : param_groups_) {
    MethodOptions& options = method_options(group);
    options.set_lr(options.initial_lr() * factor);
  }
}

std::vector<NamedParam> named_params(const torch::nn::Module& module, const RoleOf& role_of) {
  std::vector<NamedParam> out;
  std::set<const void*> seen;
  for (const auto& item : module.named_parameters()) {
    if (!item.value().requires_grad() || !seen.insert(item.value().unsafeGetTensorImpl()).second) continue;
    ParamRole role = role_of(item.key(), item.value());
    const std::string error = role_error(role);
    if (!error.empty()) throw std::invalid_argument(item.key() + ": " + error);
    out.push_back({item.key(), item.value(), std::move(role)});
  }
  return out;
}

}  // namespace scalevec
