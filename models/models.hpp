#pragma once

// Every model, what they are made of, and weights in and out.
#include "scalevec/models/decoder.hpp"
#include "scalevec/models/decoder_sites.hpp"
#include "scalevec/models/initial_value.hpp"
#include "scalevec/models/model_traces.hpp"
#include "scalevec/models/safetensors.hpp"
#include "scalevec/models/toy/output_scale.hpp"
