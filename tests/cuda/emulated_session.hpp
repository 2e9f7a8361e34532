#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>

#include "tests/cuda/emulated_step.hpp"
// After the language that the kernels are written in.
#include "experiments/train/session.hpp"

// Training sessions over the emulated device.
namespace scalevec::cuda_test {

// A graph whose replay runs the recorded work again, with the optimizer's host part switched off as a real replay has
// it.
class EmulatedGraph : public experiments::StepGraph {
 public:
  explicit EmulatedGraph(std::shared_ptr<EmulatedStep> device) : device_(std::move(device)) {}

  void record(bool traced, const std::function<void()>& work) override {
    ++records;
    work_[traced] = nullptr;
    if (fails) throw std::runtime_error("operation not permitted when stream is capturing\nwhere: here");
    work_[traced] = work;
  }
  bool recorded(bool traced) const override { return work_[traced] != nullptr; }
  void forget() override { work_[0] = work_[1] = nullptr; }
  void replay(bool traced) override {
    ++replays;
    device_->replayed = true;
    work_[traced]();
    device_->replayed = false;
  }

  int replays = 0, records = 0;
  bool fails = false;

 private:
  std::shared_ptr<EmulatedStep> device_;
  std::function<void()> work_[2];  // without and with traces
};

inline nlohmann::json tiny() {
  return nlohmann::json::parse(R"({"model": {"vocab_size": 16, "width": 8, "layers": 1, "heads": 2, "qk_norm": true},
    "data": {"synthetic": {}}, "sequence_length": 8, "batch_size": 4, "accumulation": 2, "steps": 12, "dtype": "float64", "threads": 1,
    "schedule": {"shape": "cosine", "warmup_steps": 2},
    "optimizer": {"lr": 1e-2, "max_norm": 1.0, "rules": [{"match": {}, "weight_decay": 0.1}]}})");
}

struct OnDevice {
  explicit OnDevice(const nlohmann::json& config, bool graph = true) : session(experiments::read_run_config(config)) {
    auto made = graph ? std::make_unique<EmulatedGraph>(device) : nullptr;
    recorded = made.get();
    session.use_device(std::move(made), device);
  }
  std::shared_ptr<EmulatedStep> device = std::make_shared<EmulatedStep>();
  experiments::Session session;
  EmulatedGraph* recorded;
};

}  // namespace scalevec::cuda_test
