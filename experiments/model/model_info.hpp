#pragma once

#include <string>

#include "scalevec/models/decoder.hpp"

namespace scalevec {

// A table for people: parameters by role, and of every scale vector which maps read it and the least, mean, RMS and
// greatest γ.
std::string model_info(const Decoder& model);

}  // namespace scalevec
