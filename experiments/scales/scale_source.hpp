#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/scales/scale_names.hpp"

namespace scalevec::experiments {

// A scale vector γ of a model, and what the maps that read it are, column by column.
struct ScaleData {
  std::string name, site;  // "attn", "ffn", "attn.q", "attn.q_norm", "attn_post", "final", …
  int layer = -1;
  bool input = false;  // class: some map reads it
  std::vector<double> gamma;
  std::vector<std::string> readers;
  double rows = 0.0;            // of all readers together; 0: their columns were not read
  std::vector<double> squares;  // ‖w_j‖² per γ_j
  std::string note;             // why not
};

struct ScaledModel {
  std::string label;          // of the folder
  std::string architecture;   // model_type, or "scalevec"
  std::int64_t head_dim = 0;  // 0: not known
  std::vector<ScaleData> scales;
  std::vector<std::string> notes;
};

// The scale vectors of a Hugging Face folder by the table of names (`extra` before the built-in), tensors read one by
// one; or of a model of ours, a run or RUN@STEP, by what the model itself states. UsageError or ConfigError name the
// file and what is wrong: an architecture that no table has, a tensor that does not fit its reader.
ScaledModel read_scales(const std::filesystem::path& folder, const std::vector<Architecture>& extra);

}  // namespace scalevec::experiments
