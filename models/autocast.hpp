#pragma once

#include <torch/types.h>

namespace scalevec {

// While it lives, LibTorch's autocast is on for `device`: linear maps are taken in `type` (bfloat16) and attention from
// and to it, with parameters, residual stream, norms and loss in float32. For the forward pass only; `on` false:
// nothing. On this thread.
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

}  // namespace scalevec
