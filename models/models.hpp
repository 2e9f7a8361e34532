#pragma once

// Every model, what they are made of, and weights in and out.
#include "scalevec/models/autocast.hpp"
#include "scalevec/models/decoder.hpp"
#include "scalevec/models/decoder_sites.hpp"
#include "scalevec/models/fold.hpp"
#include "scalevec/models/hugging_face.hpp"
#include "scalevec/models/initial_value.hpp"
#include "scalevec/models/model_folder.hpp"
#include "scalevec/models/model_traces.hpp"
#include "scalevec/models/moe.hpp"
#include "scalevec/models/norm.hpp"
#include "scalevec/models/ops/fused.hpp"
#include "scalevec/models/safetensors.hpp"
#include "scalevec/models/scale_vector.hpp"
#include "scalevec/models/scaled_map.hpp"
#include "scalevec/models/toy/output_scale.hpp"
