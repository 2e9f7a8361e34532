#include <torch/types.h>

#include <cstdint>
#include <memory>

#include "models/toy/toy.hpp"

namespace scalevec::models {
namespace {

// The toy of T5 (docs/theory.md). Its only parameter is "gamma" [replicas], output-class; θ = γ. The noise is that of
// simulate_output_scale().
class OutputScale : public QuadraticToy {
 public:
  OutputScale(const OutputScaleOptions& options, std::uint64_t seed);

  torch::Tensor theta() const override { return gamma_; }

 private:
  torch::Tensor gamma_;
};

OutputScale::OutputScale(const OutputScaleOptions& o, std::uint64_t seed) : QuadraticToy(o.sigma, seed) {
  gamma_ = add_scale("gamma", torch::full({o.replicas}, o.initial, torch::kFloat64),
                     scale_role(NormClass::output, "toy", ScaleSide::after), {});
  set_quadratic(torch::full({}, o.curvature, torch::kFloat64), torch::full({}, o.target, torch::kFloat64), o.replicas);
}

}  // namespace

std::unique_ptr<Toy> OutputScaleOptions::make(std::uint64_t seed) const {
  return std::make_unique<OutputScale>(*this, seed);
}

}  // namespace scalevec::models
