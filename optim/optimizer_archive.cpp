#include <torch/optim/optimizer.h>
#include <torch/serialize.h>
#include <torch/types.h>

#include <algorithm>
#include <map>

#include "optim/optimizer.hpp"
#include "optim/optimizer_parts.hpp"

// The optimizer's archives: its own, those of version 0.1, and those of torch::optim.
namespace scalevec {

using torch::Tensor;

// Gives our groups what was saved of theirs, or throws with nothing changed.
void Optimizer::take(SavedOptimizer saved) {
  check_layout();
  const std::string lead = "saved optimizer: ";
  size_t count = 0;
  bool by_name = true;
  std::map<std::string, std::pair<size_t, const SavedParam*>> place;  // by name: its group and state
  for (size_t g = 0; g < saved.groups.size(); ++g)
    for (const SavedParam& p : saved.groups[g].params) {
      ++count;
      by_name = by_name && p.named;
      place.emplace(p.name, std::pair(g, &p));
    }
  for (const Entry& e : entries_) by_name = by_name && identity(e.param);
  if (saved.groups.size() != groups_.size())
    throw std::invalid_argument(lead + "has " + std::to_string(saved.groups.size()) +
                                " groups; allowed: " + std::to_string(groups_.size()));
  if (by_name && count != entries_.size()) {
    for (const auto& [name, at] : place)
      if (std::none_of(entries_.begin(), entries_.end(), [&, n = name](const Entry& e) { return e.name == n; }))
        throw std::invalid_argument(lead + "has the parameter " + name + ", which is not here");
  }
  decltype(state_) loaded;
  std::vector<size_t> group_of(groups_.size());
  size_t next = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const std::string where = "saved optimizer, group " + std::to_string(g) + ": ";
    group_of[g] = g;
    if (!by_name && saved.groups[g].params.size() != groups_[g].size)
      throw std::invalid_argument(where + "has " + std::to_string(saved.groups[g].params.size()) +
                                  " parameters; allowed: " + std::to_string(groups_[g].size));
    for (size_t i = 0; i < groups_[g].size; ++i, ++next) {
      const Entry& e = entries_[next];
      const SavedParam* from = nullptr;
      if (by_name) {
        const auto at = place.find(e.name);
        if (at == place.end()) throw std::invalid_argument(lead + "has no parameter " + e.name);
        if (i > 0 && at->second.first != group_of[g])
          throw std::invalid_argument(lead + e.name + " is in another group than " + entries_[next - i].name +
                                      ", with which it is in group " + std::to_string(g) + " here");
        group_of[g] = at->second.first;
        from = at->second.second;
      } else {
        from = &saved.groups[g].params[i];
        if (from->named && identity(e.param) && from->name != e.name)
          throw std::invalid_argument(where + "parameter " + std::to_string(i) + " is " + from->name +
                                      "; allowed: " + e.name);
      }
      const SavedOptimizer::Group& source = saved.groups[group_of[g]];
      if (source.method != e.options->method())
        throw std::invalid_argument(where + e.name + " is of method " + source.method +
                                    "; allowed: " + std::string(e.options->method()));
      if (from->shape && c10::IntArrayRef(*from->shape) != e.param.sizes())
        throw std::invalid_argument(where + e.name + " has shape " + shape_text(*from->shape) +
                                    "; allowed: " + shape_text(e.param.sizes()));
      if (from->step >= 0)
        loaded[e.param.unsafeGetTensorImpl()] = read_state(e.param, *source.options, *from, where + e.name);
    }
    if (groups_[g].size == 0 && saved.groups[group_of[g]].method != method_options(param_groups_[g]).method())
      throw std::invalid_argument(where + "is of method " + saved.groups[group_of[g]].method +
                                  "; allowed: " + std::string(method_options(param_groups_[g]).method()));
    const std::string error = saved.groups[group_of[g]].options->error();
    if (!error.empty()) throw std::invalid_argument(where + error);
  }
  if (saved.max_norm) set_max_norm(*saved.max_norm);
  if (saved.check_finite) check_finite_ = *saved.check_finite;
  std::swap(state_, loaded);
  for (size_t g = 0; g < groups_.size(); ++g) {
    MethodOptions& options = method_options(param_groups_[g]);
    const SavedOptimizer::Group& source = saved.groups[group_of[g]];
    options.assign(*source.options);
    options.set_noted_lr(source.noted_lr);
  }
  for (Entry& e : entries_) e.fitted = false;
}

void Optimizer::save(torch::serialize::OutputArchive& archive) const {
  archive.write("format", c10::IValue(std::string("scalevec optimizer 2")));
  archive.write("max_norm", c10::IValue(max_norm_));
  archive.write("check_finite", c10::IValue(check_finite_));
  archive.write("groups", c10::IValue(static_cast<std::int64_t>(param_groups_.size())));
  for (size_t g = 0; g < param_groups_.size(); ++g) {
    const MethodOptions& options = method_options(param_groups_[g]);
    torch::serialize::OutputArchive group(archive.compilation_unit());
    torch::serialize::OutputArchive fields(archive.compilation_unit());
    options.serialize(fields);
    group.write("method", c10::IValue(std::string(options.method())));
    group.write("options", fields);
    group.write("noted_lr", c10::IValue(options.noted_lr()));
    group.write("size", c10::IValue(static_cast<std::int64_t>(param_groups_[g].params().size())));
    for (size_t i = 0; i < param_groups_[g].params().size(); ++i) {
      const Tensor& param = param_groups_[g].params()[i];
      const auto it = state_.find(param.unsafeGetTensorImpl());
      torch::serialize::OutputArchive entry(archive.compilation_unit());
      const auto* state = it == state_.end() ? nullptr : static_cast<const ParamState*>(it->second.get());
      entry.write("name", c10::IValue(name_of(param, g, i)));
      entry.write("named", c10::IValue(identity(param) != nullptr));
      entry.write("shape",
                  c10::IValue(c10::List<std::int64_t>(state ? c10::IntArrayRef(state->sizes) : param.sizes())));
      entry.write("step", c10::IValue(state ? steps_of(*state) : std::int64_t{-1}));
      entry.write("buffers", c10::IValue(static_cast<std::int64_t>(state ? state->buffers.size() : 0)));
      for (size_t b = 0; state && b < state->buffers.size(); ++b) {
        entry.write("buffer_name" + std::to_string(b), c10::IValue(state->names[b]));
        // Readable where the device is not.
        entry.write("buffer" + std::to_string(b), state->buffers[b].cpu());
      }
      group.write("state" + std::to_string(i), entry);
    }
    archive.write("group" + std::to_string(g), group);
  }
}

namespace {

c10::IValue value_of(torch::serialize::InputArchive& archive, const std::string& key) {
  c10::IValue value;
  archive.read(key, value);
  return value;
}

}  // namespace

SavedOptimizer Optimizer::read_archive(torch::serialize::InputArchive& archive) {
  const std::string format = value_of(archive, "format").toStringRef();
  if (format != "scalevec optimizer 1" && format != "scalevec optimizer 2")
    throw std::invalid_argument("saved optimizer: format " + format +
                                "; allowed: scalevec optimizer 1, scalevec optimizer 2");
  const bool first = format == "scalevec optimizer 1";  // version 0.1
  SavedOptimizer saved;
  if (!first) {
    saved.max_norm = value_of(archive, "max_norm").toDouble();
    saved.check_finite = value_of(archive, "check_finite").toBool();
  }
  saved.groups.resize(static_cast<size_t>(value_of(archive, "groups").toInt()));
  for (size_t g = 0; g < saved.groups.size(); ++g) {
    SavedOptimizer::Group& out = saved.groups[g];
    torch::serialize::InputArchive group, fields;
    archive.read("group" + std::to_string(g), group);
    out.method = value_of(group, "method").toStringRef();
    out.options = make_method_options(out.method);
    if (!out.options)
      throw std::invalid_argument("saved optimizer, group " + std::to_string(g) + ": unknown method " + out.method);
    group.read("options", fields);
    out.options->serialize(fields);
    if (first) {
      // It had no other than that of the first step.
      out.noted_lr = out.options->initial_lr();
      out.options->set_initial_lr(-1.0);
    } else {
      out.noted_lr = value_of(group, "noted_lr").toDouble();
    }
    out.params.resize(static_cast<size_t>(value_of(group, "size").toInt()));
    for (size_t i = 0; i < out.params.size(); ++i) {
      SavedParam& p = out.params[i];
      torch::serialize::InputArchive entry;
      group.read("state" + std::to_string(i), entry);
      if (!first) {
        p.name = value_of(entry, "name").toStringRef();
        p.named = value_of(entry, "named").toBool();
        p.shape = value_of(entry, "shape").toIntVector();
        p.names.emplace();
      }
      p.step = value_of(entry, "step").toInt();
      p.buffers.resize(static_cast<size_t>(value_of(entry, "buffers").toInt()));
      for (size_t b = 0; b < p.buffers.size(); ++b) {
        if (!first) p.names->push_back(value_of(entry, "buffer_name" + std::to_string(b)).toStringRef());
        entry.read("buffer" + std::to_string(b), p.buffers[b]);
      }
    }
  }
  return saved;
}

namespace {

// What wrote an archive of torch::optim, by the options that it has; Adam and AdamW have the same.
std::string torch_method(const std::vector<std::string>& options) {
  const auto has = [&](const char* key) { return std::find(options.begin(), options.end(), key) != options.end(); };
  if (has("amsgrad")) return "Adam or AdamW";
  if (has("nesterov")) return "SGD";
  if (has("centered")) return "RMSprop";
  if (has("lr_decay")) return "Adagrad";
  if (has("max_iter")) return "LBFGS";
  return "an unknown optimizer";
}

// The options that an archive of torch::optim has, by the names of ours. One that the method has not must be off.
void read_torch_options(torch::serialize::InputArchive& from, MethodOptions& to, const std::string& where) {
  std::map<std::string, c10::IValue> given;
  for (const std::string& key : from.keys()) {
    c10::IValue value;
    if (!from.try_read(key, value)) continue;
    if (key == "betas") {
      given["beta1"] = value.toTupleRef().elements()[0];
      given["beta2"] = value.toTupleRef().elements()[1];
    } else {
      given[key] = value;
    }
  }
  for (const Option& field : to.fields()) {
    const auto at = given.find(field.key);
    if (at == given.end()) continue;
    if (auto* number = std::get_if<double*>(&field.value)) **number = at->second.toDouble();
    if (auto* on = std::get_if<bool*>(&field.value)) **on = at->second.toBool();
    if (auto* count = std::get_if<std::int64_t*>(&field.value)) **count = at->second.toInt();
    given.erase(at);
  }
  for (const auto& [name, value] : given)
    if (value.isBool() && value.toBool()) throw std::invalid_argument(where + name + ": got true; allowed: false");
}

}  // namespace

// Groups take what torch::optim's have; what it does not have (decay_target, clip, …) stays as it is.
SavedOptimizer Optimizer::read_torch_archive(torch::serialize::InputArchive& archive) const {
  torch::serialize::InputArchive groups, states;
  archive.read("param_groups", groups);
  archive.read("state", states);
  const std::vector<std::string> known = states.keys();
  Tensor size;
  groups.read("param_groups/size", size);
  SavedOptimizer saved;
  saved.groups.resize(static_cast<size_t>(size.item<std::int64_t>()));
  for (size_t g = 0; g < saved.groups.size(); ++g) {
    const std::string where = "saved torch::optim optimizer, group " + std::to_string(g) + ": ";
    if (g >= param_groups_.size())
      throw std::invalid_argument("saved torch::optim optimizer: has " + std::to_string(saved.groups.size()) +
                                  " groups; allowed: " + std::to_string(param_groups_.size()));
    SavedOptimizer::Group& out = saved.groups[g];
    torch::serialize::InputArchive group, fields;
    groups.read("param_groups/" + std::to_string(g), group);
    group.read("options", fields);
    const MethodOptions& ours = method_options(param_groups_[g]);
    const std::string theirs = torch_method(fields.keys());
    out.method = ours.method();
    out.options.reset(static_cast<MethodOptions*>(ours.clone().release()));
    const Method& method = ours.implementation();
    if (!method.torch_name() || theirs != method.torch_name())
      throw std::invalid_argument(where + "is of " + theirs + "; allowed: " + out.method);
    read_torch_options(fields, *out.options, where);
    const auto buffers = static_cast<const ElementwiseMethod&>(method).buffers(ours);
    group.read("params/size", size);
    out.params.resize(static_cast<size_t>(size.item<std::int64_t>()));
    for (size_t i = 0; i < out.params.size(); ++i) {
      SavedParam& p = out.params[i];
      const std::string key = value_of(group, "params/" + std::to_string(i)).toStringRef();
      if (std::find(known.begin(), known.end(), key) == known.end()) continue;
      torch::serialize::InputArchive entry;
      states.read(key, entry);
      p.names.emplace();
      const auto take = [&](const std::string& name) {
        Tensor buffer;
        if (!entry.try_read(name, buffer)) return;
        p.names->push_back(name);
        p.buffers.push_back(buffer);
      };
      c10::IValue step;
      // Some have state before the first step.
      if (entry.try_read("step", step) && step.toInt() == 0) continue;
      p.step = step.isInt() ? step.toInt() : 1;  // where none is counted, the first one is over
      for (const std::string& name : buffers) take(name);
    }
  }
  return saved;
}

void Optimizer::load(torch::serialize::InputArchive& archive) {
  const std::vector<std::string> keys = archive.keys();
  const auto has = [&](const char* key) { return std::find(keys.begin(), keys.end(), key) != keys.end(); };
  if (has("format")) return take(read_archive(archive));
  if (has("param_groups") && has("state")) return take(read_torch_archive(archive));
  throw std::invalid_argument("saved optimizer: not written by scalevec nor by torch::optim");
}

}  // namespace scalevec
