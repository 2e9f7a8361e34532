#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "experiments/plot/plot.hpp"
#include "experiments/scales/scale_source.hpp"
#include "experiments/scales/scale_statistics.hpp"

// What `scalevec model scales` makes of the scale vectors of several models. No LibTorch.
namespace scalevec::experiments {

struct ScaleRecord {
  std::string name, site, note;
  int layer = -1;
  bool input = false;
  std::size_t size = 0;
  std::vector<std::string> readers;
  GammaStatistics gamma;
  std::optional<ReaderStatistics> maps;
};

struct SiteOutliers {
  std::string site;
  std::size_t layers = 0;                        // that have this site
  std::map<std::int64_t, std::size_t> channels;  // in how many of them it is an outlier
};

struct LayerPairs {
  int layer = 0;
  PairProducts products;
};

struct ModelScales {
  std::string label, architecture;
  std::vector<std::string> notes;
  std::vector<ScaleRecord> scales;
  std::vector<SiteOutliers> outliers;  // of sites with one vector per layer, all of one size
  std::vector<LayerPairs> pairs;       // of QK-norms
};

ModelScales analysed(const ScaledModel& model);

// λ_γ and λ_w, for T4.
struct Decays {
  double gamma = 0.0, w = 0.0;
};

// A finding in words with its numbers; `bears_on`: "T2", or several.
struct Finding {
  std::string title, text, bears_on;
};
std::vector<Finding> findings(const ModelScales& model, const std::optional<Decays>& decays);

// All of it: the content of scales.json, from which the rest is made.
nlohmann::ordered_json scales_json(const std::vector<ModelScales>& models, const std::optional<Decays>& decays);

// A number of one scale vector there, the one at `at` of several; NaN where it has none.
double number_of(const nlohmann::ordered_json& record, const char* key, std::size_t at = 0);

// A row per scale vector of every model.
std::string scales_csv(const nlohmann::ordered_json& scales);

// One per kind of number, a panel per site, a curve per model.
std::vector<Plot> scale_plots(const nlohmann::ordered_json& scales);

// `pictures` are the parts of the page for the plots; `command` reproduces it.
std::string scales_page(const nlohmann::ordered_json& scales, const std::vector<std::string>& pictures,
                        const std::string& command);

}  // namespace scalevec::experiments
