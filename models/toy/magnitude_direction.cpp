#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <memory>

#include "models/scale_vector.hpp"
#include "models/toy/toy.hpp"

namespace scalevec::models {
namespace {

// The toy of T8 (docs/theory.md): one output-class scale γ [size] in the given form. Parameters: "scale.gamma", or
// "scale.alpha" with "scale.beta" or "scale.log_beta" (the names of ScaleVector). Every element of γ is 1 at step 0.
class MagnitudeDirection : public Toy {
 public:
  MagnitudeDirection(const MagnitudeDirectionOptions& options, std::uint64_t seed);

  // ½h‖γ − γ*‖² + ½(h_mag − h)(t·(γ − γ*))² + σξ·γ with t = γ*/‖γ*‖. `tokens` is ignored.
  torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) override;
  double excess() const override;

 private:
  torch::Tensor clean_loss(const torch::Tensor& gamma) const;

  MagnitudeDirectionOptions options_;
  ScaleVector gamma_;
  torch::Tensor target_;
};

MagnitudeDirection::MagnitudeDirection(const MagnitudeDirectionOptions& o, std::uint64_t seed)
    : Toy(o.sigma, seed), options_(o) {
  GammaOptions gamma;
  gamma.form = parse_scale_form(o.form).value();
  gamma_ = add_scale_vector("scale", gamma, o.size, {.site = "toy", .side = ScaleSide::after}, {});
  // Their initial values, 0 and 1, are float32 without loss.
  to(torch::kFloat64);
  const torch::Tensor t = 1.0 + o.tilt * target_draw({o.size});
  target_ = o.target * t * t.square().mean().rsqrt();
}

torch::Tensor MagnitudeDirection::clean_loss(const torch::Tensor& gamma) const {
  const torch::Tensor target = target_.to(gamma.device()), off = gamma - target;
  const torch::Tensor along = (off * target).sum().square() / target.square().sum();
  return 0.5 * options_.curvature * off.square().sum() +
         0.5 * (options_.magnitude_curvature - options_.curvature) * along;
}

torch::Tensor MagnitudeDirection::loss(const torch::Tensor&, std::int64_t step) {
  const torch::Tensor gamma = gamma_.value();
  const torch::Tensor clean = clean_loss(gamma), push = noise(gamma, step);
  return push.defined() ? clean + (gamma * push).sum() : clean;
}

double MagnitudeDirection::excess() const {
  const torch::NoGradGuard no_grad;
  return clean_loss(gamma_.value()).item<double>();
}

}  // namespace

std::unique_ptr<Toy> MagnitudeDirectionOptions::make(std::uint64_t seed) const {
  return std::make_unique<MagnitudeDirection>(*this, seed);
}

}  // namespace scalevec::models
