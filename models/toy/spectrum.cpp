#include <torch/types.h>

#include <cstdint>
#include <memory>

#include "models/toy/toy.hpp"

namespace scalevec::models {
namespace {

// The toy of T10 (docs/theory.md). Parameters: "gamma" [modes], input-class, and "weight" [1, modes]. θ [1, modes] =
// γ_jw_j, with curvature j^−a and target R₀j^−b for j from 1. Only the noise is random.
class Spectrum : public QuadraticToy {
 public:
  Spectrum(const SpectrumOptions& options, std::uint64_t seed);

  torch::Tensor theta() const override { return gamma_.defined() ? weight_ * gamma_ : weight_; }

 private:
  torch::Tensor gamma_, weight_;
};

Spectrum::Spectrum(const SpectrumOptions& o, std::uint64_t seed) : QuadraticToy(o.sigma, seed) {
  if (o.scale)
    gamma_ = add_scale("gamma", torch::full({o.modes}, o.initial, torch::kFloat64),
                       scale_role(NormClass::input, "toy", ScaleSide::before), {"weight"});
  weight_ = add_parameter("weight", torch::full({1, o.modes}, o.initial_weight, torch::kFloat64), {.site = "toy"});
  const torch::Tensor j = torch::arange(1, o.modes + 1, torch::kFloat64);
  set_quadratic(j.pow(-o.a), o.target * j.pow(-o.b), 1);
}

}  // namespace

std::unique_ptr<Toy> SpectrumOptions::make(std::uint64_t seed) const { return std::make_unique<Spectrum>(*this, seed); }

}  // namespace scalevec::models
