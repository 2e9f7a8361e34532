#include "optim/matrix/orthogonalise.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "optim/matrix/products.hpp"
#include "optim/matrix/squares.hpp"

namespace scalevec::kernels {
namespace {

using torch::Tensor;

constexpr NewtonSchulz kQuintic{3.4445, -4.7750, 2.0315};

constexpr std::array<NewtonSchulz, 8> kPolarExpress{{{8.28721201814563, -23.595886519098837, 17.300387312530933},
                                                     {4.107059111542203, -2.9478499167379106, 0.5448431082926601},
                                                     {3.9486908534822946, -2.908902115962949, 0.5518191394370137},
                                                     {3.3184196573706015, -2.488488024314874, 0.51004894012372},
                                                     {2.300652019954817, -1.6689039845747493, 0.4188073119525673},
                                                     {1.891301407787398, -1.2679958271945868, 0.37680408948524835},
                                                     {1.8750014808534479, -1.2500016453999487, 0.3750001645474248},
                                                     {1.875, -1.25, 0.375}}};

// What is left of the steps on a Gram matrix G: X ← PX and G ← PGP for P = aI + bG + cG². All are polynomials of G, so
// that they commute and products of them are symmetric. After some five steps G is formed from X anew: its rounding, up
// to 1e-7 and of either sign, grows with the square of a small singular value.
void orthogonalise_by_gram(Tensor& x, const std::vector<NewtonSchulz>& steps) {
  constexpr size_t kBetween = 5;
  const bool tall = x.size(0) > x.size(1);
  const std::int64_t m = std::min(x.size(0), x.size(1));
  Tensor gram = at::empty({m, m}, x.options()), polynomial = at::empty_like(gram), total = at::empty_like(gram),
         spare = at::empty_like(gram), next = at::empty_like(x);
  for (size_t first = 0; first < steps.size(); first += kBetween) {
    const size_t end = std::min(steps.size(), first + kBetween);
    symmetric_product(gram, tall ? x.t() : x);
    for (size_t k = first; k < end; ++k) {
      symmetric_product(polynomial, gram, steps[k].c, gram, steps[k].b);
      polynomial.diagonal().add_(steps[k].a);
      if (k + 1 < end) {
        commuting_product(spare, polynomial, gram);
        commuting_product(gram, spare, polynomial);
      }
      if (k == first) {
        std::swap(total, polynomial);
      } else {
        commuting_product(spare, polynomial, total);
        std::swap(total, spare);
      }
    }
    if (tall)
      product(next, x, total);
    else
      product(next, total, x);
    std::swap(x, next);
  }
}

}  // namespace

OrthogonaliseOptions orthogonalise_options(std::string_view coefficients, std::int64_t steps) {
  OrthogonaliseOptions options;
  if (coefficients == "quintic") {
    options.steps.assign(static_cast<size_t>(steps), kQuintic);
    return options;
  }
  constexpr double safety = 1.01;
  options.norm_factor = safety;
  for (std::int64_t k = 0; k < steps; ++k) {
    const NewtonSchulz& s = kPolarExpress[std::min<size_t>(static_cast<size_t>(k), kPolarExpress.size() - 1)];
    const bool last = static_cast<size_t>(k) + 1 >= kPolarExpress.size();
    options.steps.push_back(last ? s
                                 : NewtonSchulz{s.a / safety, s.b / std::pow(safety, 3), s.c / std::pow(safety, 5)});
  }
  return options;
}

void orthogonalise(Tensor& matrix, const OrthogonaliseOptions& options) {
  const double given = std::sqrt(squared_norm(matrix));
  if (given == 0.0) return;
  // To a norm in [1, 2), which costs no bit: the factor of a matrix of 1e-12 is that of the matrix of 1. The exponent
  // is bounded, so that the scale itself is a number of the type.
  const int most = matrix.scalar_type() == torch::kFloat64 ? 1022 : 126;
  const int exponent = std::isfinite(given) ? std::clamp(std::ilogb(given), -most, most) : 0;
  const torch::Dtype dtype = !options.gram                      ? options.dtype
                             : options.dtype == torch::kFloat64 ? torch::kFloat64
                                                                : torch::kFloat32;
  const bool converted = dtype != matrix.scalar_type();
  Tensor x = converted ? at::empty_like(matrix, matrix.options().dtype(dtype)) : matrix;
  const auto strips = [&](auto body) {
    for_row_strips(matrix.size(0), [&](std::int64_t begin, std::int64_t rows) {
      Tensor to = x.narrow(0, begin, rows), from = matrix.narrow(0, begin, rows);
      body(to, from);
    });
  };
  if (exponent != 0 || converted)
    strips([scale = std::exp2(-exponent), exponent, converted](Tensor& to, Tensor& from) {
      if (exponent != 0) from.mul_(scale);
      if (converted) to.copy_(from);
    });
  // The norm in the iteration's type and of the converted matrix, as PyTorch takes it: bfloat16's quintic steps move
  // small singular values enough for another rounding to show.
  double norm = std::sqrt(squared_norm(x)) * options.norm_factor;
  if (dtype == torch::kBFloat16) norm = static_cast<double>(c10::BFloat16(static_cast<float>(norm)));
  strips([norm = std::max(norm, options.eps)](Tensor& to, Tensor&) { to.div_(norm); });
  if (options.gram) {
    orthogonalise_by_gram(x, options.steps);
    if (!x.is_same(matrix)) strips([](Tensor& to, Tensor& from) { from.copy_(to); });
    return;
  }
  const std::int64_t m = std::min(matrix.size(0), matrix.size(1));
  Tensor gram = at::empty({m, m}, x.options()), polynomial = at::empty_like(gram), next = at::empty_like(x);
  const bool tall = matrix.size(0) > matrix.size(1);
  for (const NewtonSchulz& s : options.steps) {
    symmetric_product(gram, tall ? x.t() : x);
    symmetric_product(polynomial, gram, s.c, gram, s.b);
    if (tall)
      product(next, x, polynomial, x, s.a);
    else
      product(next, polynomial, x, x, s.a);
    std::swap(x, next);
  }
  if (!x.is_same(matrix)) strips([](Tensor& to, Tensor& from) { from.copy_(to); });
}

}  // namespace scalevec::kernels
