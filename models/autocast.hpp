#pragma once

#include <torch/types.h>

namespace scalevec::models {

// Turns LibTorch's autocast on for `device`, on this thread, from construction to destruction. Linear maps are computed
// in `type` (bfloat16); attention reads and writes `type`. Parameters, residual stream, norms and loss stay in float32.
// Use it around the forward pass only. With `on` false it does nothing.
class Autocast {
 public:
  Autocast(torch::DeviceType device, torch::ScalarType type, bool on = true);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  torch::DeviceType device_;
  torch::ScalarType type_before_;
  bool on_, on_before_;
};

}  // namespace scalevec::models
