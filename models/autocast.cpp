#include "models/autocast.hpp"

#include <ATen/autocast_mode.h>

namespace scalevec::models {

Autocast::Autocast(torch::DeviceType device, torch::ScalarType type, bool on)
    : device_(device),
      type_before_(at::autocast::get_autocast_dtype(device)),
      on_(on),
      on_before_(at::autocast::is_autocast_enabled(device)) {
  if (!on_) return;
  at::autocast::set_autocast_dtype(device, type);
  at::autocast::set_autocast_enabled(device, true);
  at::autocast::increment_nesting();
}

// Weights that were cast are kept for the length of a forward pass: the next one has others.
Autocast::~Autocast() {
  if (!on_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, on_before_);
  at::autocast::set_autocast_dtype(device_, type_before_);
}

}  // namespace scalevec::models
