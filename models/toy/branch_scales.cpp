#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/toy/toy.hpp"

namespace scalevec::models {
namespace {

// The toy of T6 (docs/theory.md). Parameters: "branch.C.weight" [1, replicas] for each branch C, whose elements are w_c
// of the replicas, and input-class scales: "norm.gamma" [replicas] for all branches, or "branch.C.gamma" for each (HG).
// θ [branches, replicas] = γ_cw_c.
class BranchScales : public QuadraticToy {
 public:
  BranchScales(const BranchScalesOptions& options, std::uint64_t seed);

  torch::Tensor theta() const override;

 private:
  std::vector<torch::Tensor> weights_, gammas_;  // one γ, or as many as weights
};

BranchScales::BranchScales(const BranchScalesOptions& o, std::uint64_t seed) : QuadraticToy(o.sigma, seed) {
  const auto add_gamma = [&](const std::string& name, const std::string& site, std::vector<std::string> maps) {
    gammas_.push_back(add_scale(name, torch::full({o.replicas}, o.initial, torch::kFloat64),
                                scale_role(NormClass::input, site, ScaleSide::before), std::move(maps)));
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

}  // namespace

std::unique_ptr<Toy> BranchScalesOptions::make(std::uint64_t seed) const {
  return std::make_unique<BranchScales>(*this, seed);
}

}  // namespace scalevec::models
