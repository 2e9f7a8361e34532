#include <torch/types.h>

#include <cmath>
#include <cstdint>
#include <memory>

#include "models/toy/toy.hpp"

namespace scalevec::models {
namespace {

// The toy of T7 (docs/theory.md). Parameters, as far as the placement has them: "map.weight" W [replicas·rows,
// columns], in which a replica is a block of rows (row_blocks of its role, so that Muon orthogonalises each
// separately); "input.gamma" v [replicas·columns]; "output.gamma" u [replicas·rows]. v is input-class. u is too,
// through the rows of W, unless a norm stands between (DNP). θ [replicas, rows, columns]. Under DNP, map.weight is a
// matrix before a norm only if there is one replica, because the norm in a trace is that of the whole tensor.
class Placement : public QuadraticToy {
 public:
  Placement(const PlacementOptions& options, std::uint64_t seed);

  torch::Tensor theta() const override;

 private:
  torch::Tensor target_of(const PlacementOptions& o) const;  // [replicas, rows, columns]

  PlacementOptions options_;
  torch::Tensor weight_, u_, v_;
};

Placement::Placement(const PlacementOptions& o, std::uint64_t seed) : QuadraticToy(o.sigma, seed), options_(o) {
  const bool normed = o.scales == "both_normed";
  const auto ones = [&](std::int64_t size) { return torch::ones({o.replicas * size}, torch::kFloat64); };
  if (o.scales != "none")
    v_ = add_scale("input.gamma", ones(o.columns), scale_role(NormClass::input, "input", ScaleSide::before),
                   {"map.weight"});
  const torch::Tensor target = target_of(o);
  weight_ = add_parameter("map.weight",
                          normal_start({o.replicas * o.rows, o.columns}, o.init_std, "map.weight") +
                              o.initial_weight * target.reshape({-1, o.columns}),
                          {.site = "map", .row_blocks = o.replicas});
  if (o.scales == "both" || normed) {
    u_ = add_parameter("output.gamma", ones(o.rows),
                       scale_role(normed ? NormClass::output : NormClass::input, "output", ScaleSide::after));
    ScaleLink link;
    link.scale = "output.gamma";
    if (!normed) link.rows = {"map.weight"};
    link.gamma = ScaleVector(ScaleForm::plain, u_);
    add_scale_link(link);
  }
  if (normed && o.replicas == 1) add_matrix_before_norm("map.weight");
  set_quadratic(torch::full({}, o.curvature, torch::kFloat64), target, o.replicas);
}

torch::Tensor Placement::target_of(const PlacementOptions& o) const {
  torch::Tensor row_scale = torch::ones({o.rows, 1}, torch::kFloat64);
  for (std::int64_t i = 0; i < o.rows && o.rows > 1; ++i)
    row_scale[i][0] = std::pow(o.spread, static_cast<double>(i) / static_cast<double>(o.rows - 1) - 0.5);
  if (o.target == "diagonal")
    return (torch::eye(o.rows, o.columns, torch::kFloat64) * row_scale).repeat({o.replicas, 1, 1});
  if (o.target == "full") return target_draw({o.replicas, o.rows, o.columns}) * row_scale;
  return target_draw({o.replicas, o.rows, 1}, ".rows") * target_draw({o.replicas, 1, o.columns}, ".columns") *
         row_scale;
}

torch::Tensor Placement::theta() const {
  torch::Tensor theta = weight_.view({options_.replicas, options_.rows, options_.columns});
  if (v_.defined()) theta = theta * v_.view({options_.replicas, 1, options_.columns});
  if (options_.scales == "both_normed")
    theta = theta * (std::sqrt(static_cast<double>(options_.rows)) * theta.square().sum({1, 2}, true).rsqrt());
  if (u_.defined()) theta = theta * u_.view({options_.replicas, options_.rows, 1});
  return theta;
}

}  // namespace

std::unique_ptr<Toy> PlacementOptions::make(std::uint64_t seed) const {
  return std::make_unique<Placement>(*this, seed);
}

}  // namespace scalevec::models
