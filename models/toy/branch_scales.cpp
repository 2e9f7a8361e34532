#include "models/toy/branch_scales.hpp"

#include <torch/types.h>

#include <string>

namespace scalevec::models {

BranchScales::BranchScales(const BranchScalesOptions& o, std::uint64_t seed) : QuadraticToy(o.sigma, seed) {
  check_toy(o);
  const auto add_gamma = [&](const std::string& name, const std::string& site, std::vector<std::string> maps) {
    gammas_.push_back(add_scale(name, torch::full({o.replicas}, o.initial, torch::kFloat64),
                                {.kind = ParamKind::scale,
                                 .norm_class = NormClass::input,
                                 .site = site,
                                 .side = ScaleSide::before,
                                 .part = ScalePart::value},
                                std::move(maps)));
  };
  std::vector<std::string> names;
  for (size_t c = 0; c < o.curvatures.size(); ++c) {
    const std::string branch = "branch." + std::to_string(c), name = branch + ".weight";
    if (o.own) add_gamma(branch + ".gamma", branch, {name});
    weights_.push_back(add_parameter(name, normal_start({1, o.replicas}, o.init_std, name), {.site = branch}));
    names.push_back(name);
  }
  if (!o.own) add_gamma("norm.gamma", "norm", names);
  const auto column = [](const std::vector<double>& values) {
    return torch::tensor(values, torch::kFloat64).unsqueeze(1);
  };
  set_quadratic(column(o.curvatures), column(o.targets), o.replicas);
}

torch::Tensor BranchScales::theta() const {
  const torch::Tensor w = torch::cat(weights_);
  return w * (gammas_.size() == 1 ? gammas_[0] : torch::stack(gammas_));
}

}  // namespace scalevec::models
