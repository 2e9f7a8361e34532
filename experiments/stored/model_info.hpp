#pragma once

#include <string>

#include "models/decoder.hpp"

namespace scalevec::experiments {

// A table for the reader: parameters by role, and for each scale vector the maps that read it and the least, mean, RMS
// and greatest γ.
std::string model_info(const models::Decoder& model);

}  // namespace scalevec::experiments
