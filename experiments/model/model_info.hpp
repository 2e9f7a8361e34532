#pragma once

#include <string>

#include "scalevec/models/decoder.hpp"

namespace scalevec {

// A table for the reader: parameters by role, and for each scale vector the maps that read it and the least, mean, RMS
// and greatest γ.
std::string model_info(const Decoder& model);

}  // namespace scalevec
