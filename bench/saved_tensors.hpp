#pragma once

#include <ATen/record_function.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>
#include <torch/types.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

// What a forward pass keeps for its backward, tensor by tensor.
namespace scalevec::bench {

struct SavedTensor {
  torch::Tensor tensor;  // as it was saved; keeps its storage alive
  std::string op;        // innermost operator that was running: "aten::embedding", "scalevec::rms_norm"
  const void* storage() const { return tensor.storage().unsafeGetStorageImpl(); }
  std::int64_t storage_bytes() const { return static_cast<std::int64_t>(tensor.storage().nbytes()); }
};

namespace detail {

// Of this thread while a census is taken.
inline thread_local std::vector<SavedTensor>* census = nullptr;
inline thread_local std::vector<std::string> running;

struct KeepHooks : torch::autograd::SavedVariableHooks {
  torch::Tensor kept;
  void call_pack_hook(const at::Tensor& tensor) override {
    kept = tensor.tensor_data();
    if (census) census->push_back({kept, running.empty() ? "" : running.back()});
  }
  at::Tensor call_unpack_hook() override { return kept; }
};

// LibTorch's engine is asked for hooks whenever a tensor is saved; Python's subclass answers in the same place.
struct CensusEngine : torch::autograd::Engine {
  ~CensusEngine() override { stop(); }
  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override {
    return census ? std::make_unique<KeepHooks>() : nullptr;
  }
  static torch::autograd::Engine& instance() {
    static CensusEngine engine;
    return engine;
  }
};

inline std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& f) {
  running.emplace_back(f.name());
  return nullptr;
}
inline void leave(const at::RecordFunction&, at::ObserverContext*) { running.pop_back(); }

}  // namespace detail

// Every tensor that `forward` saves, in order; what it returns is dropped afterwards. A tensor that several operators
// save is listed for each.
inline std::vector<SavedTensor> saved_tensors(const std::function<torch::Tensor()>& forward) {
  std::vector<SavedTensor> found;
  torch::autograd::set_default_engine_stub(detail::CensusEngine::instance);
  const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(detail::enter, detail::leave)
                                                     .scopes({at::RecordScope::FUNCTION, at::RecordScope::USER_SCOPE}));
  detail::census = &found;
  const torch::Tensor out = forward();
  detail::census = nullptr;
  at::removeCallback(handle);
  torch::autograd::set_default_engine_stub(torch::autograd::Engine::get_base_engine);
  return found;
}

// One entry per storage, in order, without those of `parameters`.
inline std::vector<SavedTensor> distinct_storages(const std::vector<SavedTensor>& saved,
                                                  const std::vector<torch::Tensor>& parameters) {
  std::set<const void*> seen;
  for (const torch::Tensor& p : parameters) seen.insert(p.storage().unsafeGetStorageImpl());
  std::vector<SavedTensor> out;
  for (const SavedTensor& s : saved)
    if (s.tensor.defined() && seen.insert(s.storage()).second) out.push_back(s);
  return out;
}

// Pairs of different storages of at least `bytes` that hold the same bytes.
inline std::vector<std::pair<SavedTensor, SavedTensor>> saved_twice(const std::vector<SavedTensor>& storages,
                                                                    std::int64_t bytes) {
  std::vector<std::pair<SavedTensor, SavedTensor>> pairs;
  for (std::size_t i = 0; i < storages.size(); ++i)
    for (std::size_t j = i + 1; j < storages.size(); ++j)
      if (storages[i].storage_bytes() >= bytes && storages[i].storage_bytes() == storages[j].storage_bytes() &&
          std::memcmp(storages[i].tensor.storage().data(), storages[j].tensor.storage().data(),
                      static_cast<std::size_t>(storages[i].storage_bytes())) == 0)
        pairs.emplace_back(storages[i], storages[j]);
  return pairs;
}

}  // namespace scalevec::bench
