#include "scalevec/models/toy/output_scale.hpp"

#include <torch/torch.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "scalevec/optim/core/random.hpp"

namespace scalevec {

OutputScale::OutputScale(const OutputScaleOptions& options) : options_(options) {
  if (const std::string error = options.error(); !error.empty()) throw std::invalid_argument(error);
  gamma_ = add_scale("gamma", torch::full({options.replicas}, options.initial, torch::kFloat64),
                     {.kind = ParamKind::scale,
                      .norm_class = NormClass::output,
                      .site = "toy",
                      .side = ScaleSide::after,
                      .part = ScalePart::value},
                     {});
}

torch::Tensor OutputScale::loss(const torch::Tensor&, std::int64_t step) {
  torch::Tensor noise = torch::empty({options_.replicas}, torch::kFloat64);
  double* xi = noise.data_ptr<double>();
  const std::uint64_t stream = stream_of("toy.noise");
  const std::uint64_t first = static_cast<std::uint64_t>(step) * static_cast<std::uint64_t>(options_.replicas);
  for (std::int64_t i = 0; i < options_.replicas; ++i)
    xi[i] = options_.sigma * random_normal(options_.seed, stream, first + static_cast<std::uint64_t>(i));
  return ((gamma_ - options_.target).square() * (0.5 * options_.curvature) + gamma_ * noise.to(gamma_.device())).sum();
}

double OutputScale::excess() const {
  const torch::NoGradGuard no_grad;
  return 0.5 * options_.curvature * (gamma_ - options_.target).square().mean().item<double>();
}

}  // namespace scalevec
