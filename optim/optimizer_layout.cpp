#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <ATen/MemoryOverlap.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "optim/core/random.hpp"
#include "optim/matrix/squares.hpp"
#include "optim/optimizer.hpp"
#include "optim/optimizer_parts.hpp"

// Which parameters an optimizer has, by which names, and whether their methods can train them.
namespace scalevec {
namespace {

using torch::Tensor;

// The bytes from a tensor's first element to its last.
struct Extent {
  const char* begin;
  const char* end;
};

Extent extent_of(const Tensor& t) {
  std::int64_t low = 0, high = 0;
  for (std::int64_t d = 0; d < t.dim(); ++d) (t.stride(d) < 0 ? low : high) += (t.size(d) - 1) * t.stride(d);
  const auto* data = static_cast<const char*>(t.const_data_ptr());
  const auto size = static_cast<std::int64_t>(t.element_size());
  return {data + low * size, data + (high + 1) * size};
}

// Calls body(first byte) for every element.
template <class F>
void for_elements(const Tensor& t, const F& body) {
  const auto size = static_cast<std::int64_t>(t.element_size());
  const auto* at = static_cast<const char*>(t.const_data_ptr());
  std::vector<std::int64_t> index(static_cast<size_t>(t.dim()), 0);
  for (std::int64_t k = 0; k < t.numel(); ++k) {
    body(at);
    for (std::int64_t d = t.dim(); d-- > 0;) {
      at += t.stride(d) * size;
      if (++index[static_cast<size_t>(d)] < t.size(d)) break;
      at -= t.size(d) * t.stride(d) * size;
      index[static_cast<size_t>(d)] = 0;
    }
  }
}

// Of two tensors whose extents meet: whether they have a byte in common, or only lie between each other.
bool share_bytes(const Tensor& a, const Tensor& b) {
  if (a.is_non_overlapping_and_dense() && b.is_non_overlapping_and_dense()) return true;
  const Extent extent = extent_of(a);
  std::vector<bool> taken(static_cast<size_t>(extent.end - extent.begin), false);
  for_elements(a, [&](const char* at) {
    for (std::int64_t i = 0; i < a.element_size(); ++i) taken[static_cast<size_t>(at - extent.begin + i)] = true;
  });
  bool shared = false;
  for_elements(b, [&](const char* at) {
    for (std::int64_t i = 0; i < b.element_size(); ++i)
      if (at + i >= extent.begin && at + i < extent.end)
        shared = shared || taken[static_cast<size_t>(at - extent.begin + i)];
  });
  return shared;
}

}  // namespace

kernels::Rounding rounding_of(const Tensor& param, const MethodOptions& options) {
  if (param.element_size() != 2) return kernels::Rounding::nearest;
  if (options.rounding() == "stochastic") return kernels::Rounding::stochastic;
  return options.rounding() == "compensated" ? kernels::Rounding::compensated : kernels::Rounding::nearest;
}

std::string shape_error(const MethodOptions& options, c10::IntArrayRef sizes, std::int64_t row_blocks) {
  const auto* matrix_method = dynamic_cast<const MatrixMethod*>(&options.implementation());
  if (!matrix_method) return {};
  const std::string method(options.method()), shape = shape_text(sizes);
  if (sizes.size() != 2 && !matrix_method->any_shape())
    return "shape " + shape + ": " + method + " trains matrices only";
  if (row_blocks < 1 || (sizes.empty() ? 1 : sizes[0]) % row_blocks != 0)
    return "shape " + shape + ": its rows are not " + std::to_string(row_blocks) + " equal blocks";
  return {};
}

bool Optimizer::Entry::as_noted() const {
  const c10::TensorImpl& now = *param.unsafeGetTensorImpl();
  return same_integers(now.sizes(), sizes) && same_integers(now.strides(), strides) && now.device() == device &&
         param.scalar_type() == scalar_type && now.unsafe_storage().mutable_data() == storage &&
         now.storage_offset() == offset;
}

// The chance of an element is a function of its index, which a matrix method's elements are taken by too, and a sum
// over them depends on their order.
void Optimizer::Entry::follow_options() {
  rounding = rounding_of(param, *options);
  modified = options->modified();
  const bool in_order = matrix || method->by_index() || rounding == kernels::Rounding::stochastic || modified ||
                        (elementwise && elementwise->measures());
  as_it_lies = dense && (!in_order || param.is_contiguous());
  on_host = device.is_cpu() && as_it_lies;
}

Optimizer::Optimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups,
                     std::unique_ptr<MethodOptions> defaults, const std::vector<NamedParam>& names)
    : torch::optim::Optimizer(groups, std::move(defaults)) {
  identities_ = with_names(names);
  check_layout();
}

void Optimizer::add_param_group(const torch::optim::OptimizerParamGroup& group) {
  const size_t before = param_groups_.size();
  try {
    if (group.has_options()) method_options(group);
    torch::optim::Optimizer::add_param_group(group);
    check_layout();
  } catch (const c10::Error& e) {
    param_groups_.erase(param_groups_.begin() + static_cast<std::ptrdiff_t>(before), param_groups_.end());
    throw std::invalid_argument(e.what_without_backtrace());
  } catch (...) {
    param_groups_.erase(param_groups_.begin() + static_cast<std::ptrdiff_t>(before), param_groups_.end());
    throw;
  }
}

const Optimizer::Identity* Optimizer::identity(const Tensor& param) const {
  const auto it = identities_.find(param.unsafeGetTensorImpl());
  return it != identities_.end() ? &it->second : nullptr;
}

std::string Optimizer::name_of(const Tensor& param, size_t group, size_t index) const {
  const Identity* known = identity(param);
  return known ? known->name : "param." + std::to_string(group) + "." + std::to_string(index);
}

// The names known and these: all of parameters that are alive.
std::unordered_map<const void*, Optimizer::Identity> Optimizer::with_names(
    const std::vector<NamedParam>& params) const {
  auto identities = identities_;
  for (const NamedParam& p : params)
    identities.insert_or_assign(p.tensor.unsafeGetTensorImpl(),
                                Identity{p.name, trace_group(p.role), p.role.row_blocks,
                                         c10::weak_intrusive_ptr<c10::TensorImpl>(p.tensor.getIntrusivePtr()), p.role});
  std::erase_if(identities, [](const auto& entry) { return entry.second.tensor.expired(); });
  std::set<std::string_view> taken;
  for (const auto& [key, known] : identities)
    if (!taken.insert(known.name).second)
      throw std::invalid_argument("the name " + known.name + " is given to two parameters");
  return identities;
}

void Optimizer::set_names(const std::vector<NamedParam>& params) {
  auto identities = with_names(params);
  std::swap(identities, identities_);
  try {
    check_layout(/*anew=*/true);
  } catch (...) {
    std::swap(identities, identities_);
    throw;
  }
}

// The base class's groups are open to everyone. They are compared, in integers, with what the last check found: other
// parameters, or the same ones moved, resized or converted, are checked anew, and options where they differ.
void Optimizer::check_layout(bool anew) {
  bool as_checked = !anew && groups_.size() == param_groups_.size();
  size_t next = 0;
  for (size_t g = 0; as_checked && g < groups_.size(); ++g) {
    const std::vector<Tensor>& params = param_groups_[g].params();
    as_checked = static_cast<const void*>(&param_groups_[g].options()) == groups_[g].options &&
                 dynamic_cast<MethodOptions*>(&param_groups_[g].options()) && params.size() == groups_[g].size &&
                 static_cast<const MethodOptions&>(param_groups_[g].options()).method() == groups_[g].checked->method();
    for (size_t i = 0; as_checked && i < params.size(); ++i, ++next)
      as_checked =
          params[i].unsafeGetTensorImpl() == entries_[next].param.unsafeGetTensorImpl() && entries_[next].as_noted();
  }
  if (as_checked)
    check_options();
  else
    check_parameters();
}

void Optimizer::check_options() {
  size_t first = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const MethodOptions& options = method_options(param_groups_[g]);
    if (!(options == *groups_[g].checked)) {
      const std::string error = options.error();
      if (!error.empty()) throw std::invalid_argument("parameter group " + std::to_string(g) + ": " + error);
      const MethodOptions& before = *groups_[g].checked;
      const bool same = options.rounding() == before.rounding() && options.modified() == before.modified() &&
                        options.hold_norm() == before.hold_norm() &&
                        options.implementation().same_buffers(options, before);
      for (size_t i = first; !same && i < first + groups_[g].size; ++i) {
        entries_[i].fitted = false;
        entries_[i].follow_options();
      }
      groups_[g].checked->assign(options);
    }
    first += groups_[g].size;
  }
}

void Optimizer::check_parameters() {
  std::set<const void*> seen;
  std::set<std::string> names;
  std::vector<Entry> entries;
  std::vector<CheckedGroup> groups;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    MethodOptions& options = method_options(param_groups_[g]);
    const std::string error = options.error();
    if (!error.empty()) throw std::invalid_argument("parameter group " + std::to_string(g) + ": " + error);
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      if (!param.defined())
        throw std::invalid_argument("parameter " + std::to_string(i) + " of group " + std::to_string(g) +
                                    " is undefined");
      const Identity* known = identity(param);
      std::string name = name_of(param, g, i);
      if (!seen.insert(param.unsafeGetTensorImpl()).second)
        throw std::invalid_argument(name + ": the same parameter is in the optimizer twice");
      if (!names.insert(name).second) throw std::invalid_argument("the name " + name + " is given to two parameters");
      if (param.layout() != torch::kStrided || param.is_complex())
        throw std::invalid_argument(name + ": sparse and complex parameters are not supported");
      if (param.is_meta())
        throw std::invalid_argument(name + ": is on the meta device, where there is nothing to step");
      if (param.is_neg()) throw std::invalid_argument(name + ": is a lazily negated view, which cannot be written");
      if (at::has_internal_overlap(param) == at::MemOverlap::Yes)
        throw std::invalid_argument(name + ": several of its elements are one place in memory");
      const std::int64_t row_blocks = known ? known->row_blocks : 1;
      const std::string misfit = shape_error(options, param.sizes(), row_blocks);
      if (!misfit.empty()) throw std::invalid_argument(name + ": " + misfit);
      const auto held = state_.find(param.unsafeGetTensorImpl());
      if (const auto* state = held == state_.end() ? nullptr : dynamic_cast<const ParamState*>(held->second.get()))
        if (c10::IntArrayRef(state->sizes) != param.sizes())
          throw std::invalid_argument(name + ": its shape is " + shape_text(param.sizes()) + " and that of its state " +
                                      shape_text(state->sizes) +
                                      "; replace_param() keeps rows of the state, reset_state() drops it");
      const Method& method = options.implementation();
      Entry entry;
      entry.param = param;
      entry.options = &options;
      entry.method = &method;
      entry.elementwise = dynamic_cast<const ElementwiseMethod*>(&method);
      entry.matrix = dynamic_cast<const MatrixMethod*>(&method) != nullptr;
      entry.dtype = kernels::kernel_dtype(param, name);
      entry.name = std::move(name);
      entry.stream = stream_of("rounding of " + entry.name);
      if (known) entry.group = known->group;
      if (known) entry.role = known->role;
      entry.row_blocks = row_blocks;
      entry.sizes.assign(param.sizes().begin(), param.sizes().end());
      entry.strides.assign(param.strides().begin(), param.strides().end());
      entry.scalar_type = param.scalar_type();
      entry.device = param.device();
      // For writing, so that a lazy copy of another tensor has memory of its own from here on.
      entry.data = param.mutable_data_ptr();
      entry.storage = param.unsafeGetTensorImpl()->unsafe_storage().mutable_data();
      entry.offset = param.storage_offset();
      entry.dense = param.is_non_overlapping_and_dense();
      entry.follow_options();
      entry.has_version = !param.is_inference();
      entries.push_back(std::move(entry));
    }
    auto checked = std::unique_ptr<MethodOptions>(static_cast<MethodOptions*>(options.clone().release()));
    groups.push_back({&param_groups_[g].options(), param_groups_[g].params().size(), std::move(checked)});
  }
  check_overlap(entries);
  entries_ = std::move(entries);
  groups_ = std::move(groups);
  layout_is_new_ = true;
}

void Optimizer::check_overlap(const std::vector<Entry>& entries) {
  struct Place {
    const Entry* entry;
    Extent extent;
  };
  std::vector<Place> places;
  for (const Entry& e : entries)
    if (e.param.numel() > 0) places.push_back({&e, extent_of(e.param)});
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return std::less<>()(a.extent.begin, b.extent.begin); });
  std::vector<const Place*> open;  // those that reach beyond the current one's begin
  for (const Place& place : places) {
    std::erase_if(open, [&](const Place* p) { return p->extent.end <= place.extent.begin; });
    for (const Place* other : open)
      if (other->entry->device == place.entry->device && share_bytes(other->entry->param, place.entry->param))
        throw std::invalid_argument(other->entry->name + " and " + place.entry->name +
                                    ": the two parameters overlap in memory");
    open.push_back(&place);
  }
}

// The keys of states whose parameters are no longer in the groups.
std::vector<void*> Optimizer::left_states() const {
  std::vector<void*> left;
  if (!layout_is_new_) return left;
  std::set<const void*> present;
  for (const Entry& e : entries_) present.insert(e.param.unsafeGetTensorImpl());
  for (const auto& [key, state] : state_)
    if (!present.count(key)) left.push_back(key);
  return left;
}

void Optimizer::set_max_norm(double max_norm) {
  if (!(max_norm >= 0.0) || std::isinf(max_norm))
    throw std::invalid_argument("max_norm: got " + std::to_string(max_norm) + "; allowed: [0, inf)");
  max_norm_ = max_norm;
}

void Optimizer::set_lr_factor(double factor) {
  check_layout();
  for (auto& group : param_groups_) {
    MethodOptions& options = method_options(group);
    options.note_initial_lr();
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
