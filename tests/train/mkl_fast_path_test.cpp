#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>

#include "tests/support/catch.hpp"

TEST_CASE("products on MKL's fast path agree with a plain reference in double") {
  torch::manual_seed(1);
  for (const auto& [m, k, n] : {std::tuple(64, 128, 96), std::tuple(513, 300, 257)}) {
    const torch::Tensor a = torch::randn({m, k}), b = torch::randn({k, n}), product = torch::mm(a, b);
    const torch::Tensor magnitude = torch::mm(a.abs().to(torch::kFloat64), b.abs().to(torch::kFloat64));
    double worst = 0;
    const auto x = a.accessor<float, 2>(), y = b.accessor<float, 2>(), z = product.accessor<float, 2>();
    const auto scale = magnitude.accessor<double, 2>();
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        double sum = 0;
        for (int l = 0; l < k; ++l) sum += static_cast<double>(x[i][l]) * y[l][j];
        worst = std::max(worst, std::abs(sum - z[i][j]) / scale[i][j]);
      }
    CHECK(worst < k * 6e-8);  // the bound of any order of summation in float
  }
}
