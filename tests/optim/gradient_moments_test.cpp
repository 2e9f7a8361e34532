#include "optim/gradient_moments.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

using namespace scalevec;
using torch::Tensor;

// Random gradients of random size, with elements that never vary, on a random layout of memory.
Tensor draw(const Tensor& p, std::mt19937_64& random) {
  const double size = std::exp(std::uniform_real_distribution<double>(-8.0, 8.0)(random));
  Tensor g = (torch::randn(p.sizes(), torch::kFloat64) + 0.5) * size;
  if (g.numel() > 3) g.flatten()[2] = 0.25;
  g = g.to(p.scalar_type());
  return g.dim() == 2 && random() % 2 ? g.t().contiguous().t() : g;
}

}  // namespace

TEST_CASE("means, deviations and the sums of gradients are those of two passes in double precision") {
  std::mt19937_64 random(7);
  torch::manual_seed(7);
  const std::vector<std::vector<std::int64_t>> shapes{{1}, {0}, {5, 3}, {16384 + 77}, {40, 1000}, {}, {70000}};
  for (const auto type : {torch::kFloat32, torch::kFloat64, torch::kBFloat16, torch::kFloat16})
    for (int round = 0; round < 3; ++round) {
      std::vector<Tensor> params;
      for (const auto& shape : shapes) params.push_back(torch::zeros(shape, type).requires_grad_());
      GradientMoments moments(params);
      for (const int steps : {2, 5, 9}) {
        std::vector<std::vector<Tensor>> seen(params.size());
        for (int step = 0; step < steps; ++step) {
          for (std::size_t i = 0; i < params.size(); ++i) {
            // The last has no gradient in every third step, which counts as 0.
            const bool missing = i + 1 == params.size() && step % 3 == 1;
            params[i].mutable_grad() = missing ? Tensor() : draw(params[i], random);
            seen[i].push_back(missing ? torch::zeros(params[i].sizes(), torch::kFloat64)
                                      : params[i].grad().to(torch::kFloat64));
          }
          moments.add(nullptr);
        }
        REQUIRE(moments.count() == steps);
        const Tensor sums = moments.signal(nullptr);
        REQUIRE(sums.sizes() == torch::IntArrayRef{static_cast<std::int64_t>(params.size()), 2});
        const double tolerance = type == torch::kFloat64 ? 1e-12 : 1e-5;
        for (std::size_t i = 0; i < params.size(); ++i) {
          INFO(c10::str(type) << " " << params[i].sizes() << ", " << steps << " steps");
          const Tensor g = torch::stack(seen[i]), mean = g.mean(0), squares = (g - mean).square().sum(0);
          const Tensor scale = g.abs().amax(0).clamp_min(1e-300);
          const auto& entry = moments.entries()[i];
          REQUIRE(entry.mean.sizes() == params[i].sizes());
          if (params[i].numel() == 0) continue;
          CHECK(((entry.mean - mean) / scale).abs().max().item<double>() <= tolerance);
          CHECK(((entry.squares - squares) / scale.square()).abs().max().item<double>() <= 10 * tolerance);
          const Tensor varies = squares > 0;
          const double count = varies.sum().item<double>(),
                       ratios = (mean.square() / (squares / (steps - 1))).masked_select(varies).sum().item<double>();
          CHECK(sums[static_cast<std::int64_t>(i)][1].item<double>() == count);
          CHECK(std::abs(sums[static_cast<std::int64_t>(i)][0].item<double>() - ratios) <= 100 * tolerance * ratios);
        }
        moments.reset();
      }
    }
}
