#include <torch/optim/optimizer.h>
#include <torch/serialize.h>
#include <torch/types.h>

#include <map>

#include "scalevec/optim/method.hpp"
#include "scalevec/optim/optimizer.hpp"

// The optimizer's state: making it, naming it, writing and reading it.
namespace scalevec {

using torch::Tensor;

MethodOptions& method_options(torch::optim::OptimizerParamGroup& group) {
  auto* options = dynamic_cast<MethodOptions*>(&group.options());
  if (!options) throw std::invalid_argument("a parameter group's options are not of a scalevec method");
  return *options;
}

const MethodOptions& method_options(const torch::optim::OptimizerParamGroup& group) {
  return method_options(const_cast<torch::optim::OptimizerParamGroup&>(group));
}

std::string shape_text(c10::IntArrayRef sizes) {
  std::string text = "[";
  for (const auto n : sizes) text += (text.size() > 1 ? "," : "") + std::to_string(n);
  return text + "]";
}

std::unique_ptr<ParamState> new_state(const Tensor& param, const MethodOptions& options, StateMemory& memory) {
  auto state = std::make_unique<ParamState>();
  state->method = options.method();
  const Method& method = options.implementation();
  const auto dtype = param.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  const bool like_param = dynamic_cast<const ElementwiseMethod*>(&method) != nullptr;
  for (const BufferSpec& spec : method.state(options, param.sizes()))
    state->buffers.push_back(like_param ? memory.zeros_like(param, dtype) : memory.zeros(spec.shape, dtype));
  return state;
}

std::int64_t steps_of(const ParamState& state) {
  return state.device_step.defined() ? state.device_step.item<std::int64_t>() : state.step;
}

void place_state(ParamState& state, torch::Device device, bool counts) {
  for (Tensor& buffer : state.buffers)
    if (buffer.device() != device) buffer = buffer.to(device);
  const bool counted = state.device_step.defined();
  if (counted == counts && (!counts || state.device_step.device() == device)) return;
  state.step = steps_of(state);
  state.device_step = counts ? torch::full({}, state.step, torch::dtype(torch::kInt64).device(device)) : Tensor();
}

std::vector<std::pair<std::string, Tensor>> Optimizer::named_state() const {
  std::vector<std::pair<std::string, Tensor>> out;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    const MethodOptions& options = method_options(param_groups_[g]);
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      const auto it = state_.find(param.unsafeGetTensorImpl());
      if (it == state_.end()) continue;
      const auto& state = static_cast<const ParamState&>(*it->second);
      const std::string name = name_of(param, g, i);
      const auto buffers = options.implementation().state(options, param.sizes());
      out.emplace_back(name + "/step", torch::tensor(steps_of(state), torch::kInt64));
      for (size_t b = 0; b < state.buffers.size(); ++b)
        out.emplace_back(name + "/" + buffers[b].name, state.buffers[b]);
    }
  }
  return out;
}

std::vector<std::string> Optimizer::names() const {
  std::vector<std::string> out;
  for (size_t g = 0; g < param_groups_.size(); ++g)
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i)
      out.push_back(name_of(param_groups_[g].params()[i], g, i));
  return out;
}

void Optimizer::load_named_state(const std::vector<std::pair<std::string, Tensor>>& entries) {
  std::map<std::string, Tensor> left(entries.begin(), entries.end());
  std::vector<std::pair<void*, std::unique_ptr<ParamState>>> loaded;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    const MethodOptions& options = method_options(param_groups_[g]);
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      const std::string name = name_of(param, g, i);
      const auto steps = left.find(name + "/step");
      if (steps == left.end()) continue;
      const bool keep = owned(name);
      std::unique_ptr<ParamState> state;
      if (keep) {
        state = new_state(param, options, memory_);
        state->step = steps->second.item<std::int64_t>();
      }
      const auto buffers = options.implementation().state(options, param.sizes());
      left.erase(steps);
      for (size_t b = 0; b < buffers.size(); ++b) {
        const auto entry = left.find(name + "/" + buffers[b].name);
        if (entry == left.end())
          throw std::invalid_argument("optimizer state: " + name + "/" + buffers[b].name + " is missing");
        if (entry->second.sizes() != c10::IntArrayRef(buffers[b].shape))
          throw std::invalid_argument("optimizer state: " + entry->first + " has shape " +
                                      shape_text(entry->second.sizes()) + "; allowed: " + shape_text(buffers[b].shape));
        if (keep) state->buffers[b].copy_(entry->second);
        left.erase(entry);
      }
      if (keep) loaded.emplace_back(param.unsafeGetTensorImpl(), std::move(state));
    }
  }
  if (!left.empty())
    throw std::invalid_argument("optimizer state: " + left.begin()->first + " belongs to no parameter here");
  state_.clear();
  for (auto& [key, state] : loaded) state_[key] = std::move(state);
}

void Optimizer::save(torch::serialize::OutputArchive& archive) const {
  archive.write("format", c10::IValue(std::string("scalevec optimizer 1")));
  archive.write("groups", c10::IValue(static_cast<std::int64_t>(param_groups_.size())));
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    const MethodOptions& options = method_options(param_groups_[g]);
    torch::serialize::OutputArchive group(archive.compilation_unit());
    torch::serialize::OutputArchive fields(archive.compilation_unit());
    options.serialize(fields);
    group.write("method", c10::IValue(std::string(options.method())));
    group.write("options", fields);
    group.write("size", c10::IValue(static_cast<std::int64_t>(param_groups_[g].params().size())));
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const auto it = state_.find(param_groups_[g].params()[i].unsafeGetTensorImpl());
      torch::serialize::OutputArchive entry(archive.compilation_unit());
      const auto* state = it == state_.end() ? nullptr : static_cast<const ParamState*>(it->second.get());
      entry.write("step", c10::IValue(state ? steps_of(*state) : std::int64_t{-1}));
      entry.write("buffers", c10::IValue(static_cast<std::int64_t>(state ? state->buffers.size() : 0)));
      for (size_t b = 0; state && b < state->buffers.size(); ++b)
        entry.write("buffer" + std::to_string(b), state->buffers[b].cpu());  // readable where the device is not
      group.write("state" + std::to_string(i), entry);
    }
    archive.write("group" + std::to_string(g), group);
  }
}

void Optimizer::load(torch::serialize::InputArchive& archive) {
  const auto integer = [](torch::serialize::InputArchive& from, const std::string& key) {
    c10::IValue value;
    from.read(key, value);
    return value.toInt();
  };
  c10::IValue format;
  if (!archive.try_read("format", format) || format.toStringRef() != "scalevec optimizer 1")
    throw std::invalid_argument("saved optimizer: not written by scalevec");
  if (integer(archive, "groups") != static_cast<std::int64_t>(param_groups_.size()))
    throw std::invalid_argument("saved optimizer: has " + std::to_string(integer(archive, "groups")) +
                                " groups; allowed: " + std::to_string(param_groups_.size()));
  std::vector<std::unique_ptr<MethodOptions>> all_options;
  std::vector<std::pair<void*, std::unique_ptr<ParamState>>> loaded;
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    const std::string where = "saved optimizer, group " + std::to_string(g) + ": ";
    torch::serialize::InputArchive group, fields;
    archive.read("group" + std::to_string(g), group);
    c10::IValue method;
    group.read("method", method);
    auto options = make_method_options(method.toStringRef());
    if (!options) throw std::invalid_argument(where + "unknown method " + method.toStringRef());
    group.read("options", fields);
    options->serialize(fields);
    const auto& params = param_groups_[g].params();
    if (integer(group, "size") != static_cast<std::int64_t>(params.size()))
      throw std::invalid_argument(where + "has " + std::to_string(integer(group, "size")) +
                                  " parameters; allowed: " + std::to_string(params.size()));
    for (size_t i = 0; i < params.size(); ++i) {
      torch::serialize::InputArchive entry;
      group.read("state" + std::to_string(i), entry);
      const std::int64_t step = integer(entry, "step");
      if (step < 0) continue;
      const std::string misfit = shape_error(*options, params[i].sizes(), identity(params[i]).row_blocks);
      if (!misfit.empty()) throw std::invalid_argument(where + name_of(params[i], g, i) + ": " + misfit);
      auto state = new_state(params[i], *options, memory_);
      state->step = step;
      if (integer(entry, "buffers") != static_cast<std::int64_t>(state->buffers.size()))
        throw std::invalid_argument(where + name_of(params[i], g, i) + " has state of another method");
      for (size_t b = 0; b < state->buffers.size(); ++b) {
        Tensor buffer;
        entry.read("buffer" + std::to_string(b), buffer);
        if (buffer.sizes() != state->buffers[b].sizes())
          throw std::invalid_argument(where + name_of(params[i], g, i) + " has state of shape " +
                                      shape_text(buffer.sizes()) +
                                      "; allowed: " + shape_text(state->buffers[b].sizes()));
        state->buffers[b].copy_(buffer);
      }
      loaded.emplace_back(params[i].unsafeGetTensorImpl(), std::move(state));
    }
    all_options.push_back(std::move(options));
  }
  state_.clear();
  for (auto& [key, state] : loaded) state_[key] = std::move(state);
  for (size_t g = 0; g < param_groups_.size(); ++g) param_groups_[g].set_options(std::move(all_options[g]));
  checked_layout_.clear();
}

}  // namespace scalevec
